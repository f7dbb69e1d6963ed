import type { Random } from "#clock/random.ts";
import type { Log } from "#log/log.ts";
import type { FederationRelationship } from "#spiffe/federation-relationship.ts";
import { errorText } from "#spiffe/status-error.ts";
import { countedCall, type Metrics } from "#telemetry/metrics.ts";
import { jittered, refreshIntervalSeconds } from "./schedule.ts";
import { type UpdateParts, updateBundle } from "./update-bundle.ts";

/** The same failure is an error in the log once in this time; in between it is there for those who debug. */
const REPEAT_MS = 3_600_000;

const FETCH = ["bundle_manager", "fetch", "federated_bundle"];
const UPDATE = ["bundle_manager", "update", "federated_bundle"];

export interface PollerParts extends UpdateParts {
  readonly random: Random;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** Keeps the bundle of one relationship fresh, until it is stopped. It waits for nobody else's endpoint. */
export class Poller {
  readonly relationship: FederationRelationship;
  readonly #parts: PollerParts;
  readonly #stopping = new AbortController();
  #waking = new AbortController();
  #underway: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #failure:
    | { readonly text: string; readonly loggedMs: number; readonly times: number }
    | undefined;
  readonly #ended: Promise<void>;

  constructor(relationship: FederationRelationship, parts: PollerParts) {
    this.relationship = relationship;
    const log = parts.log.with({ trust_domain: relationship.trustDomain.name });
    this.#parts = { ...parts, log };
    this.#ended = this.#poll();
  }

  /**
   * Fetches the bundle now. Whoever asks while that goes on shares the next fetch: the one under way may have read the bundle before it
   * changed.
   *
   * @throws StatusError saying why it is not to be had
   */
  refresh(): Promise<void> {
    if (this.#underway === undefined) return this.#start();
    this.#next ??= this.#underway
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.#start();
      });
    return this.#next;
  }

  /** The bundle that its endpoint is verified with was stored: one that could not be verified may be now. */
  endpointBundleStored(trustDomain: string): void {
    const { profile } = this.relationship;
    const concerned =
      profile.kind === "https_spiffe" && profile.endpointSpiffeId.trustDomain.name === trustDomain;
    if (concerned && this.#failure !== undefined) this.#waking.abort();
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the trust domain is no longer managed"));
    this.#waking.abort();
    await this.#ended;
  }

  async #poll(): Promise<void> {
    const { bundles, clock, random, log } = this.#parts;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      this.#waking = new AbortController();
      log.debug("Polling for bundle update");
      await this.refresh().catch(() => undefined);
      const stored = await bundles.find(this.relationship.trustDomain.name).catch(() => undefined);
      const waitMs = jittered(refreshIntervalSeconds(stored), random) * 1000;
      const at = new Date(clock.nowMs() + waitMs).toISOString();
      log.debug("Scheduling next bundle refresh", { at });
      if (signal.aborted) break;
      // What woke it meanwhile was its own success, perhaps; after a failure it was news.
      if (this.#failure === undefined) this.#waking = new AbortController();
      await clock.sleep(waitMs, this.#waking.signal);
    }
    log.info("No longer polling for updates");
  }

  #start(): Promise<void> {
    const work = this.#update().finally(() => {
      this.#underway = undefined;
    });
    this.#underway = work;
    return work;
  }

  async #update(): Promise<void> {
    const { log, metrics } = this.#parts;
    const labels = { trust_domain_id: this.relationship.trustDomain.name };
    const update = (): ReturnType<typeof updateBundle> =>
      updateBundle(this.#parts, this.relationship, this.#stopping.signal);
    try {
      const bundle = await countedCall(this.#parts, FETCH, update, labels);
      if (bundle !== undefined) {
        metrics.count(UPDATE, labels);
        log.info("Bundle refreshed");
      } else if (this.#failure !== undefined) {
        log.info("The bundle endpoint answers again");
      }
      if (bundle?.x509Authorities.length === 0) {
        log.warn("The trust domain publishes no X.509 authorities; its X509-SVIDs do not verify");
      }
      this.#failure = undefined;
    } catch (error) {
      if (!this.#stopping.signal.aborted) this.#report(error);
      throw error;
    }
  }

  #report(error: unknown): void {
    const { clock, log } = this.#parts;
    const nowMs = clock.monotonicMs();
    const before = this.#failure;
    const text = errorText(error);
    const times = (before?.times ?? 0) + 1;
    const repeats = before?.text === text && nowMs - before.loggedMs < REPEAT_MS;
    const fields = { error, ...(times > 1 ? { failures: times } : {}) };
    if (repeats) log.debug("Error updating bundle", fields);
    else log.error("Error updating bundle", fields);
    this.#failure = { text, times, loggedMs: repeats ? before.loggedMs : nowMs };
  }
}
