/**
 * Keeps the agent's own SVID good: renewed when its time comes, or, where the node can prove itself again, attested anew.
 */

import { type AgentSvid, attestNode, nextKey, renewSvid } from "#agent/attestation/agent-svid.ts";
import type { Bootstrap } from "#agent/attestation/bootstrap.ts";
import type { JoinFile } from "#agent/attestation/join-file.ts";
import { AgentRefusedError, isFinal, reasonOf } from "#agent/attestation/refusal.ts";
import type { Signatory } from "#agent/cache/x509-svids.ts";
import type { NodeAttestorAgent } from "#attestors/attestor.ts";
import { Backoff } from "#clock/backoff.ts";
import type { Clock } from "#clock/clock.ts";
import { Wakeup } from "#clock/wakeup.ts";
import { isUnknownAuthority } from "#grpc/verifying-credentials.ts";
import type { KeyManager, ManagedKey } from "#keymanager/key-manager.ts";
import type { Log } from "#log/log.ts";
import { Recurring } from "#log/recurring.ts";
import { errorText } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { countedCall, type Metrics } from "#telemetry/metrics.ts";
import { isoTime } from "#x509/iso-time.ts";
import { type Failure, failureOf } from "./failure.ts";
import { type RotationRule, rotateAt } from "./rotation.ts";
import type { Connection, ServerLink } from "./server-link.ts";
import { signatoryOf, TAINTED_LIFE_SECONDS, type TaintedAuthorities } from "./taint.ts";

/** The clock on the wall may be set meanwhile, so it is looked at now and then. */
const MAX_SLEEP_MS = 30_000;
const MIN_LIFE_SECONDS = 1;
/** A server that attests an agent only to refuse it the next moment is not asked again and again. */
const MIN_BETWEEN_ATTESTATIONS_MS = 5_000;

const EXPIRED =
  "The agent's SVID has expired and the node could not be attested again; the agent keeps retrying. A join token can be used once: put a new one into the join_token_file, or a new join word into the join_file, or restart the agent with a new one";

const CLOCKS_DISAGREE =
  "the server finds this agent's SVID expired, which it is not by the clock of this machine: one of the two clocks is wrong";

export interface OwnSvidParts {
  readonly link: Pick<
    ServerLink,
    "svid" | "roots" | "clients" | "connection" | "connectAnonymously" | "takeSvid" | "dropSvid"
  >;
  readonly trustDomain: TrustDomain;
  readonly keys: KeyManager;
  readonly bootstrap: Pick<Bootstrap, "disagreed" | "bundle">;
  /** Asked each time the node is attested. @throws CannotAttestError */
  readonly openAttestor: () => Promise<NodeAttestorAgent>;
  /** Looked at while the node waits to be attested. */
  readonly joinFile: JoinFile;
  /** Called when an SVID is there again after one that had expired. */
  readonly onRevived: () => void;
  readonly rotation: RotationRule;
  readonly tainted: TaintedAuthorities;
  /** Milliseconds, after failures. */
  readonly firstPauseMs: number;
  readonly maxPauseMs: number;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly log: Log;
}

export class OwnSvid {
  readonly #parts: OwnSvidParts;
  readonly #wakeup: Wakeup;
  readonly #backoff: Backoff;
  readonly #failing: Recurring;
  /** Unix seconds. */
  #rotateAt: number;
  /** Replacing the SVID, one at a time. */
  #underWay: Promise<void> | undefined;
  /** No SVID has come for it yet. */
  #nextKey: ManagedKey | undefined;
  #failure: Failure | undefined;
  #lastAttestedMs = Number.NEGATIVE_INFINITY;

  constructor(parts: OwnSvidParts) {
    this.#parts = parts;
    this.#wakeup = new Wakeup(parts.clock);
    this.#failing = new Recurring(parts.log);
    this.#backoff = new Backoff(parts.firstPauseMs, parts.maxPauseMs, parts.rotation.random);
    this.#rotateAt = this.#dueAt(parts.link.svid);
  }

  /** Unix seconds: when it is to be replaced. */
  get dueAt(): number {
    return this.#rotateAt;
  }

  /** Of the last try to replace it. */
  get failure(): Failure | undefined {
    return this.#failure;
  }

  get isExpired(): boolean {
    return this.#parts.link.svid.leaf.notAfter <= this.#parts.clock.nowSeconds();
  }

  /** Unix seconds: when it is to be replaced. */
  get rotatesAt(): number {
    return this.#rotateAt;
  }

  /** Replaces it at once if the test accepts the authority that signed it. */
  expedite(accepts: (signatory: Signatory) => boolean): void {
    if (!accepts(signatoryOf(this.#parts.link.svid.chain))) return;
    this.#parts.log.info("Agent SVID is tainted by a root authority, forcing rotation");
    this.#rotateAt = 0;
    this.#wakeup.wake();
  }

  /** The server answers (again): a rotation that failed is tried at once. */
  retry(): void {
    this.#backoff.reset();
    this.#wakeup.wake();
  }

  /** Goes on until stopped. @throws AgentRefusedError */
  async run(stopping: AbortSignal): Promise<void> {
    while (!stopping.aborted) {
      const untilDueMs = this.#rotateAt * 1000 - this.#parts.clock.nowMs();
      const pauseMs = untilDueMs > 0 ? untilDueMs : await this.#tryToReplace(stopping);
      const sleepMs = Math.min(pauseMs, MAX_SLEEP_MS);
      if (this.#failure === undefined) await this.#wakeup.wait(sleepMs, stopping);
      else await this.#parts.joinFile.wait(this.#wakeup, sleepMs, stopping);
    }
  }

  /**
   * Looks into a failure of a call to the server: a refusal of the SVID that was shown makes the agent attest its node anew.
   *
   * @returns whether the agent shows another SVID by now, so that the call can be made again
   * @throws AgentRefusedError
   */
  async settle(error: unknown, { replaced }: Connection): Promise<boolean> {
    if (reasonOf(error) === undefined || replaced.aborted) return replaced.aborted;
    // Then the run is at it, and goes on trying.
    if (this.isExpired) return false;
    try {
      await this.#oneAtATime(() => this.#afterRefusal(error));
    } catch (failure) {
      if (failure instanceof AgentRefusedError) throw failure;
      this.#parts.log.error("Could not reattest agent", { error: errorText(failure) });
    }
    return replaced.aborted;
  }

  /** @returns milliseconds until the next try. @throws AgentRefusedError */
  async #tryToReplace(stopping: AbortSignal): Promise<number> {
    try {
      await this.#oneAtATime(() => this.#replace());
      this.#backoff.reset();
      this.#failure = undefined;
      this.#failing.over();
      return 0;
    } catch (error) {
      if (stopping.aborted) return 0;
      if (error instanceof AgentRefusedError) throw error;
      const what = this.isExpired ? EXPIRED : "Could not rotate agent SVID";
      this.#failing.failed("error", what, { error: errorText(error) });
      const pauseMs = Math.min(this.#backoff.nextMs(), MAX_SLEEP_MS);
      this.#failure = failureOf(error, pauseMs, this.#parts.clock);
      return pauseMs;
    }
  }

  #oneAtATime(step: () => Promise<void>): Promise<void> {
    this.#underWay ??= step().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  async #replace(): Promise<void> {
    const { link, trustDomain, log } = this.#parts;
    if (link.svid.reattestable || this.isExpired) return this.#attest();
    const key = await this.#keyToCertify();
    try {
      const renew = (): Promise<AgentSvid> => renewSvid(link.clients, link.svid, key, trustDomain);
      const renewed = await countedCall(this.#parts, ["agent_svid", "rotate"], renew);
      await this.#take(renewed);
      log.info("Successfully rotated agent SVID", {
        spiffe_id: renewed.id.toString(),
        expiration: isoTime(renewed.leaf.notAfter),
      });
    } catch (error) {
      if (reasonOf(error) === undefined) throw error;
      await this.#afterRefusal(error);
    }
  }

  async #afterRefusal(error: unknown): Promise<void> {
    const reason = reasonOf(error);
    if (reason === "AGENT_BANNED") throw await this.#over("Agent is banned:", error);
    // By our clock it has not expired, or we were not here. A clock can be set right, but a spent join token stays spent.
    if (reason === "AGENT_EXPIRED" && !this.#parts.link.svid.reattestable) {
      throw new Error(CLOCKS_DISAGREE, { cause: error });
    }
    this.#parts.log.warn("Agent needs to re-attest; will attempt to re-attest", {
      error: errorText(error),
    });
    try {
      await this.#attest();
    } catch (failure) {
      if (isFinal(failure)) throw await this.#over("Agent failed re-attestation;", failure);
      throw failure;
    }
  }

  /**
   * The server's certificate leads to no authority that the agent trusts. When that has lasted for long enough, and the node may, it is
   * attested anew, over a connection that a new bundle vouches for.
   *
   * @returns whether the agent shows another SVID by now
   */
  async distrust(): Promise<boolean> {
    const { bootstrap, log } = this.#parts;
    try {
      if (!(await bootstrap.disagreed())) return false;
      const roots = await bootstrap.bundle();
      await this.#oneAtATime(() => this.#attestWith(roots));
      return true;
    } catch (error) {
      log.error("Could not rebootstrap", { error: errorText(error) });
      return false;
    }
  }

  async #attest(): Promise<void> {
    const { link, bootstrap } = this.#parts;
    try {
      await this.#attestWith(link.roots);
    } catch (error) {
      if (!isUnknownAuthority(error) || !(await bootstrap.disagreed())) throw error;
      await this.#attestWith(await bootstrap.bundle());
    }
  }

  /** Attests over a connection of its own, which does not show the SVID that is to be replaced. */
  async #attestWith(roots: readonly Uint8Array[]): Promise<void> {
    const { link, trustDomain, openAttestor, clock, log } = this.#parts;
    if (clock.monotonicMs() - this.#lastAttestedMs < MIN_BETWEEN_ATTESTATIONS_MS) {
      throw new Error("the server refuses the SVID that it has just issued");
    }
    const clients = link.connectAnonymously(roots);
    try {
      const attestor = await openAttestor();
      const key = await this.#keyToCertify();
      const attest = (): Promise<AgentSvid> => attestNode(clients, attestor, key, trustDomain);
      const svid = await countedCall(this.#parts, ["node", "attest"], attest);
      this.#lastAttestedMs = clock.monotonicMs();
      await this.#take(svid, roots);
      log.info("Successfully reattested node", {
        spiffe_id: svid.id.toString(),
        expiration: isoTime(svid.leaf.notAfter),
      });
    } finally {
      clients.close();
    }
  }

  /** Unix seconds. SVIDs begin before they are issued, so half of a life of seconds may be over at once. */
  #dueAt({ leaf, chain }: AgentSvid): number {
    const { rotation, tainted, clock } = this.#parts;
    const now = clock.nowSeconds();
    const dueAt = Math.max(now + MIN_LIFE_SECONDS, rotateAt(leaf, rotation));
    return tainted.signed(signatoryOf(chain)) ? Math.min(dueAt, now + TAINTED_LIFE_SECONDS) : dueAt;
  }

  /** The same for every try, because the server knows a node whose answer got lost by its key. */
  async #keyToCertify(): Promise<ManagedKey> {
    this.#nextKey ??= await nextKey(this.#parts.keys, this.#parts.link.svid);
    return this.#nextKey;
  }

  async #take(svid: AgentSvid, roots = this.#parts.link.roots): Promise<void> {
    const wasExpired = this.isExpired;
    await this.#parts.link.takeSvid(svid, roots);
    if (wasExpired) this.#parts.onRevived();
    this.#rotateAt = this.#dueAt(svid);
    this.#nextKey = undefined;
    this.#wakeup.wake();
  }

  /** An agent that was banned, evicted or forgotten throws its SVID away: it would only be refused again. */
  async #over(what: string, cause: unknown): Promise<AgentRefusedError> {
    const words = `${what} removing SVID and shutting down`;
    this.#parts.log.warn(words, { error: errorText(cause) });
    await this.#parts.link.dropSvid();
    return new AgentRefusedError(`${words} (${errorText(cause)})`, { cause });
  }
}
