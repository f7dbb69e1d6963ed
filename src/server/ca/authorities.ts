/**
 * The authorities of both kinds over time: made, activated, retired, and written down in the journal. It rotates by itself once
 * started; the local authority API rotates by hand.
 */
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import { countedCall } from "#telemetry/metrics.ts";
import { type Authority, authorityFields, type JwtKey, type X509Ca } from "./authority.ts";
import {
  CaJournal,
  type JournalJwtKey,
  type JournalX509Ca,
  withActivated,
  withPrepared,
} from "./journal.ts";
import type { CaManagerParts } from "./parts.ts";
import { jwtKeyId, prepareJwtKey } from "./prepare-jwt.ts";
import { prepareX509Ca, x509KeyId } from "./prepare-x509.ts";
import { JwtKeyPublisher } from "./publish-jwt-key.ts";
import { type Recovered, recover } from "./recover.ts";
import { Rotation, type RotationSteps } from "./rotation.ts";
import { Turns } from "./turns.ts";

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
  readonly jwt: Rotation<JwtKey>;
  readonly publisher: JwtKeyPublisher;
  readonly #parts: CaManagerParts;
  readonly #journal: CaJournal;
  readonly #stopping: AbortController = new AbortController();
  #ended: Promise<void> = Promise.resolve();

  private constructor(parts: CaManagerParts, journal: CaJournal, recovered: Recovered) {
    const turns = new Turns();
    this.#parts = parts;
    this.#journal = journal;
    this.publisher = new JwtKeyPublisher(parts, (keyId) => this.madeJwtKey(keyId));
    this.x509 = new Rotation(x509Steps(parts, journal), turns, recovered.x509);
    this.jwt = new Rotation(jwtSteps(parts, journal, this.publisher), turns, recovered.jwt);
  }

  /** Recovers the authorities of the last run, or makes new ones. @throws Error or StatusError when it cannot */
  static async open(parts: CaManagerParts): Promise<Authorities> {
    const journal = await CaJournal.load(parts.journals);
    const authorities = new Authorities(parts, journal, await recover(parts, journal));
    await whenReachable(parts, async () => {
      await advanceAtStart(parts, "rotate X509 CA", authorities.x509);
      if (!parts.jwtSvidsDisabled) await advanceAtStart(parts, "rotate JWT key", authorities.jwt);
    });
    return authorities;
  }

  /** Whether the JWT key was made by this server, as far as the journal goes back. */
  madeJwtKey(keyId: string): boolean {
    return this.#journal.jwt.some(({ authorityId }) => authorityId === keyId);
  }

  /** From now on rotates by itself. */
  start(): void {
    this.#ended = this.#run();
  }

  /** Resolves when no rotation is under way any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const done = await this.#rotate();
      await this.#parts.clock.sleep(done ? this.#untilDueMs() : this.#retryMs(), signal);
    }
  }

  /** Whether all that was due could be done. One kind that fails does not hold up the other. */
  async #rotate(): Promise<boolean> {
    const { clock, log, jwtSvidsDisabled } = this.#parts;
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
    const x509 = await attempt("rotate X509 CA", async () => {
      await this.x509.advance(now);
      await this.#followUpstream();
    });
    if (jwtSvidsDisabled) return x509;
    return (await attempt("rotate JWT key", () => this.jwt.advance(now))) && x509;
  }

  /** A CA below an upstream that was replaced goes on signing until its time, but the next one is wanted at once. */
  async #followUpstream(): Promise<void> {
    const { upstream, log } = this.#parts;
    if (upstream === undefined) return;
    const version = await upstream.currentVersion();
    await this.x509.prepareUnless(({ upstreamVersion }) => {
      if (upstreamVersion === version) return true;
      log.info("Upstream authority was replaced; the next X509 CA is prepared below the new one");
      return false;
    });
  }

  #untilDueMs(): number {
    const { clock, jwtSvidsDisabled } = this.#parts;
    const dueAt = Math.min(this.x509.dueAt, jwtSvidsDisabled ? Infinity : this.jwt.dueAt);
    const wait = Math.ceil(dueAt) * 1000 - clock.nowMs();
    return Math.min(Math.max(wait, SHORTEST_WAIT_MS), LONGEST_WAIT_MS);
  }

  #retryMs(): number {
    const share = (this.#parts.caTtlSeconds * 1000) / ATTEMPTS_IN_A_LIFE;
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

function x509Steps(parts: CaManagerParts, journal: CaJournal): RotationSteps<X509Ca> {
  return {
    prepare: (slot) =>
      countedCall(parts, ["ca", "manager", "x509_ca", "prepare"], () =>
        prepareX509(parts, journal, slot),
      ),
    activate: async (ca) => {
      await journal.changeX509((records) => withActivated(records, ca.authorityId));
      measureActivation(parts, ca);
      parts.log.info("X509 CA activated", authorityFields(ca));
    },
    hasKey: ({ slot, key }) => parts.keyManager.key(x509KeyId(slot)) === key,
  };
}

function jwtSteps(
  parts: CaManagerParts,
  journal: CaJournal,
  publisher: JwtKeyPublisher,
): RotationSteps<JwtKey> {
  return {
    prepare: (slot) =>
      countedCall(parts, ["ca", "manager", "jwt_key", "prepare"], () =>
        prepareJwt(parts, journal, publisher, slot),
      ),
    activate: async (key) => {
      await journal.changeJwt((records) => withActivated(records, key.authorityId));
      parts.metrics.count(["manager", "jwt_key", "activate"]);
      parts.log.info("JWT key activated", authorityFields(key));
    },
    hasKey: ({ slot, key }) => parts.keyManager.key(jwtKeyId(slot)) === key,
  };
}

function measureActivation({ metrics, clock, trustDomain }: CaManagerParts, ca: X509Ca): void {
  const labels = { trust_domain_id: trustDomain.name };
  metrics.count(["ca", "manager", "x509_ca", "activate"]);
  metrics.gauge(["manager", "x509_ca", "rotate", "expiration"], ca.notAfter, labels);
  const ttlSeconds = ca.notAfter - clock.nowSeconds();
  metrics.gauge(["manager", "x509_ca", "rotate", "ttl"], ttlSeconds, labels);
}

async function prepareX509(
  parts: CaManagerParts,
  journal: CaJournal,
  slot: X509Ca["slot"],
): Promise<X509Ca> {
  const ca = await prepareX509Ca(parts, slot);
  const base64 = (der: Uint8Array): string => Buffer.from(der).toString("base64");
  const { authorityId, issuedAt, notAfter, upstreamVersion, certificate, chain } = ca;
  const record: JournalX509Ca = {
    slot,
    status: "prepared",
    authorityId,
    issuedAt,
    notAfter,
    upstreamVersion,
    certificate: base64(certificate.der),
    chain: chain.map(base64),
  };
  const now = parts.clock.nowSeconds();
  await journal.changeX509((records) => withPrepared(records, record, now));
  return ca;
}

async function prepareJwt(
  parts: CaManagerParts,
  journal: CaJournal,
  publisher: JwtKeyPublisher,
  slot: JwtKey["slot"],
): Promise<JwtKey> {
  const jwtKey = await prepareJwtKey(parts, publisher, slot);
  const { authorityId, issuedAt, notAfter, key } = jwtKey;
  const publicKey = Buffer.from(key.publicKeySpki).toString("base64");
  const record: JournalJwtKey = {
    slot,
    status: "prepared",
    authorityId,
    issuedAt,
    notAfter,
    publicKey,
  };
  const now = parts.clock.nowSeconds();
  await journal.changeJwt((records) => withPrepared(records, record, now));
  return jwtKey;
}
