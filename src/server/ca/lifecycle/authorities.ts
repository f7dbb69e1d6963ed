/**
 * The authorities of all kinds over time: made, activated, retired, and written down in the journal. It rotates by itself once
 * started; the local authority API rotates by hand.
 */

import type { Authority, TokenKey, X509Ca } from "#server/ca/authority/authority.ts";
import { CaJournal } from "#server/ca/authority/journal.ts";
import type { CaManagerParts } from "#server/ca/authority/parts.ts";
import { JwtKeyPublisher } from "#server/ca/authority/publish-jwt-key.ts";
import { jwtKeyKind, type TokenKeyKind, witKeyKind } from "#server/ca/authority/token-key.ts";
import { OfflineCa } from "#server/ca/offline/offline-ca.ts";
import { OfflineRequests } from "#server/ca/offline/offline-requests.ts";
import { Rotation } from "#server/ca/rotation/rotation.ts";
import { Turns } from "#server/ca/rotation/turns.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import { type Recovered, recover } from "./recover.ts";
import { tokenKeySteps, x509Steps } from "./rotation-steps.ts";

/** As the reference. It also bounds how late a stepped clock or a replaced upstream is noticed. */
const LONGEST_WAIT_MS = 10_000;
/** However short the lifetimes, the loop leaves the server time for its work. */
const SHORTEST_WAIT_MS = 100;
/** After a failure there is time for this many attempts in the life of an authority, or one every ten seconds. */
const ATTEMPTS_IN_A_LIFE = 24;
/** Before there is an authority at all. */
const UNREACHABLE_WAIT_MS = 1000;

export class Authorities {
  readonly x509: Rotation<X509Ca>;
  readonly jwt: Rotation<TokenKey>;
  /** Undefined when WIT-SVIDs are switched off. */
  readonly wit: Rotation<TokenKey> | undefined;
  readonly publisher: JwtKeyPublisher;
  /** Where the CA is signed by hand. */
  readonly offline: OfflineCa | undefined;
  /** Resolves once an X.509 CA signs. */
  readonly live: Promise<void>;
  readonly #parts: CaManagerParts;
  readonly #journal: CaJournal;
  readonly #stopping: AbortController = new AbortController();
  #onChange: () => void = () => {};
  /** What was last told of, in one text. */
  #told = "";
  /** The wait under way. */
  #pause: AbortController = new AbortController();
  #ended: Promise<void> = Promise.resolve();

  private constructor(parts: CaManagerParts, journal: CaJournal, recovered: Recovered) {
    const turns = new Turns();
    this.#parts = parts;
    this.#journal = journal;
    this.publisher = new JwtKeyPublisher(parts, (keyId) => this.madeJwtKey(keyId));
    const { promise: live, resolve: goLive } = Promise.withResolvers<void>();
    this.live = live;
    void live.then(() => this.#tellIfChanged());
    const requests = parts.offline && new OfflineRequests(parts.offline, parts, journal);
    const steps = x509Steps(parts, journal, { requests, onActivated: goLive });
    this.x509 = new Rotation(steps, turns, recovered.x509);
    // With what was imported the next thing is due at another time.
    const wake = (): void => this.#pause.abort();
    this.offline = requests && new OfflineCa(parts, requests, this.x509, wake);
    if (this.offline?.waitingFor() === undefined && recovered.x509.active !== undefined) goLive();
    const rotationOf = (kind: TokenKeyKind): Rotation<TokenKey> =>
      new Rotation(tokenKeySteps(parts, journal, kind), turns, recovered[kind.name]);
    this.jwt = rotationOf(jwtKeyKind(parts, this.publisher));
    const { witSvids } = parts;
    this.wit = witSvids === undefined ? undefined : rotationOf(witKeyKind(parts, witSvids));
  }

  /** Recovers the authorities of the last run, or makes new ones. @throws Error or StatusError when it cannot */
  static async open(parts: CaManagerParts): Promise<Authorities> {
    const journal = await CaJournal.load(parts.journals);
    const authorities = new Authorities(parts, journal, await recover(parts, journal));
    await whenReachable(parts, async () => {
      await advanceAtStart(parts, "rotate X509 CA", authorities.x509);
      for (const [what, rotation] of authorities.#tokenKeys()) {
        await advanceAtStart(parts, what, rotation);
      }
    });
    return authorities;
  }

  /** Whether the JWT key was made by this server, as far as the journal goes back. */
  madeJwtKey(keyId: string): boolean {
    return this.#journal.keys("jwt").some(({ authorityId }) => authorityId === keyId);
  }

  /** Does now what is due, and looks at the upstream. What fails is logged, and tried again as usual. */
  async lookNow(): Promise<void> {
    await this.#rotate();
    this.#tellIfChanged();
  }

  /** Sets who is called when another CA signs, or the upstream does no longer, or again, what is asked of it. */
  whenChanged(call: () => void): void {
    this.#onChange = call;
  }

  /** From now on rotates by itself. */
  start(): void {
    this.#ended = this.#run();
  }

  /** Resolves when no rotation is under way any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#pause.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const done = await this.#rotate();
      this.#tellIfChanged();
      this.#pause = new AbortController();
      if (signal.aborted) return;
      const waitMs = done ? this.#untilDueMs() : this.#retryMs();
      await this.#parts.clock.sleep(waitMs, this.#pause.signal);
    }
  }

  #tellIfChanged(): void {
    const { active } = this.x509.state;
    const now = JSON.stringify([active?.authorityId, this.#parts.upstream?.problem]);
    if (now === this.#told) return;
    this.#told = now;
    this.#onChange();
  }

  /** Whether all that was due could be done. One kind that fails does not hold up the other. */
  async #rotate(): Promise<boolean> {
    const { clock, log } = this.#parts;
    const attempt = async (what: string, work: () => Promise<void>): Promise<boolean> => {
      try {
        await work();
        return true;
      } catch (error) {
        log.error(`Unable to ${what}`, { error: errorText(error) });
        return false;
      }
    };
    const now = clock.nowSeconds();
    let done = await attempt("rotate X509 CA", async () => {
      await this.x509.advance(now);
      await this.#followUpstream();
      await this.offline?.look();
    });
    for (const [what, rotation] of this.#tokenKeys()) {
      done = (await attempt(what, () => rotation.advance(now))) && done;
    }
    return done;
  }

  /** The keys that are made at all, with what is done to them. */
  #tokenKeys(): readonly (readonly [what: string, rotation: Rotation<TokenKey>])[] {
    const jwt = this.#parts.jwtSvidsDisabled ? [] : [["rotate JWT key", this.jwt] as const];
    const wit = this.wit === undefined ? [] : [["rotate WIT key", this.wit] as const];
    return [...jwt, ...wit];
  }

  /** A CA below an upstream that was replaced goes on signing until its time, but the next one is wanted at once. */
  async #followUpstream(): Promise<void> {
    const { upstream, log } = this.#parts;
    if (upstream === undefined) return;
    const version = await upstream.currentVersion();
    await this.x509.prepareUnless(({ upstreamVersion }) => {
      if (upstreamVersion === version) return true;
      log.info("Upstream authority was replaced; preparing the next X509 CA under the new one");
      return false;
    });
  }

  #untilDueMs(): number {
    const keysDueAt = this.#tokenKeys().map(([, { dueAt }]) => dueAt);
    const dueAt = Math.min(this.x509.dueAt, ...keysDueAt);
    const wait = Math.ceil(dueAt) * 1000 - this.#parts.clock.nowMs();
    return Math.min(Math.max(wait, SHORTEST_WAIT_MS), LONGEST_WAIT_MS);
  }

  #retryMs(): number {
    const share = (this.#parts.profile().caTtlSeconds * 1000) / ATTEMPTS_IN_A_LIFE;
    return Math.min(Math.max(share, SHORTEST_WAIT_MS), LONGEST_WAIT_MS);
  }
}

/** A server whose authority still signs starts, whatever becomes of the next one: that is tried again later. */
async function advanceAtStart<T extends Authority>(
  { clock, log }: CaManagerParts,
  what: string,
  rotation: Rotation<T>,
): Promise<void> {
  const now = clock.nowSeconds();
  try {
    await rotation.advance(now);
  } catch (error) {
    const { active } = rotation.state;
    if (active === undefined || active.notAfter <= now) throw error;
    log.error(`Unable to ${what}`, { error: errorText(error) });
  }
}

/** What is above may come up later than this server does: a whole fleet may start at once. */
async function whenReachable(
  { clock, log }: CaManagerParts,
  work: () => Promise<void>,
): Promise<void> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof StatusError) || error.code !== StatusCode.UNAVAILABLE) throw error;
      log.warn("Waiting for the upstream authority", { error: error.message });
      await clock.sleep(UNREACHABLE_WAIT_MS);
    }
  }
}
