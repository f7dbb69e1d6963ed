/**
 * Sees to it that the cache has the X509-SVIDs it should have. SVIDs that a workload waits for go ahead of those that are renewed or
 * prefetched, in calls of their own.
 */
import type { DueSvids } from "#agent/cache/due-svids.ts";
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import { isSameRevision, type WorkloadEntry } from "#agent/cache/workload-entry.ts";
import { type Failure, failureOf } from "#agent/own-svid/failure.ts";
import type { Connection } from "#agent/own-svid/server-link.ts";
import { Backoff } from "#clock/backoff.ts";
import type { Random } from "#clock/random.ts";
import { Wakeup } from "#clock/wakeup.ts";
import { isLogged } from "#log/log.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import { countedCall, type Metrics } from "#telemetry/metrics.ts";
import { type IssuedSvid, type IssueTools, issueSvids, type RefusedSvid } from "./issue-svids.ts";
import { SvidsNotYetValid } from "./not-yet-valid.ts";

/** The server's burst: more in one call is refused. */
const MAX_BATCH_SIZE = 500;
const FETCH_SVIDS = ["manager", "sync", "fetch_svids_updates"];
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 240_000;
/** Until then agent and server know the same state of an entry: each server asks its datastore within seconds, each agent its server. */
const CHANGE_MS = 30_000;
/** The clock on the wall may be set meanwhile, so it is looked at now and then. */
const MAX_SLEEP_MS = 30_000;

export interface SvidIssuerParts extends Omit<IssueTools, "client"> {
  readonly cache: WorkloadCache;
  readonly connection: () => Connection;
  /** Looks into a failure of a call over that connection. @returns whether to try again at once; throws when it is all over */
  readonly onFailure: (error: unknown, connection: Connection) => Promise<boolean>;
  readonly random: Random;
  readonly metrics: Metrics;
}

interface Refusal {
  readonly entry: WorkloadEntry;
  readonly backoff: Backoff;
  /** Both in milliseconds of the clock that never jumps; the first refusal of this state of the entry, and the next try. */
  readonly sinceMs: number;
  readonly retryAtMs: number;
  readonly failure: Failure;
}

/** How an X509-SVID that is not there yet, or the next one, comes along. */
export interface IssuanceStatus {
  /** Whether the server has been asked for it. */
  readonly isUnderWay: boolean;
  /** Unix seconds: it is there, and served from then on; the server's clock is ahead. */
  readonly beginsAt?: number;
  /** Why it could not be had so far. */
  readonly failure?: Failure;
}

export class SvidIssuer {
  readonly #parts: SvidIssuerParts;
  readonly #lanes: readonly Lane[];
  readonly #underWay: Set<string> = new Set();
  /** Entries that the server would not give an SVID for, by ID. */
  readonly #refusals: Map<string, Refusal> = new Map();
  readonly #notYetValid: SvidsNotYetValid = new SvidsNotYetValid();
  #batchSize = MAX_BATCH_SIZE;

  constructor(parts: SvidIssuerParts) {
    this.#parts = parts;
    this.#lanes = [this.#lane(({ urgent }) => urgent), this.#lane(({ routine }) => routine)];
    parts.cache.whenDue(() => {
      for (const { wakeup } of this.#lanes) wakeup.wake();
    });
  }

  issuanceStatus(entry: WorkloadEntry): IssuanceStatus {
    const beginsAt = this.#notYetValid.beginsAt(entry.id);
    const refusal = this.#refusals.get(entry.id);
    const isRefused = refusal !== undefined && isSameRevision(refusal.entry, entry);
    const failures = this.#lanes.flatMap(({ failure }) => failure ?? []);
    const failure = isRefused ? refusal.failure : newest(failures);
    return {
      isUnderWay: this.#underWay.has(entry.id),
      ...(beginsAt === undefined ? {} : { beginsAt }),
      ...(failure === undefined ? {} : { failure }),
    };
  }

  #lane(pick: Lane["pick"]): Lane {
    const { clock, random } = this.#parts;
    const backoff = new Backoff(FIRST_PAUSE_MS, MAX_PAUSE_MS, random);
    return { pick, backoff, wakeup: new Wakeup(clock), retryAtMs: 0, failure: undefined };
  }

  /** Goes on until stopped. @throws whatever `onFailure` throws */
  async run(stopping: AbortSignal): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => this.#follow(lane, stopping)));
  }

  /** The server answers (again): nothing has to wait for its next try. */
  retry(): void {
    for (const lane of this.#lanes) {
      lane.backoff.reset();
      lane.retryAtMs = 0;
      lane.failure = undefined;
      lane.wakeup.wake();
    }
  }

  async #follow(lane: Lane, stopping: AbortSignal): Promise<void> {
    while (!stopping.aborted) {
      const pauseMs = await this.#round(lane, stopping);
      if (pauseMs > 0) await lane.wakeup.wait(Math.min(pauseMs, MAX_SLEEP_MS), stopping);
    }
  }

  /** @returns milliseconds until there is more to do */
  async #round(lane: Lane, stopping: AbortSignal): Promise<number> {
    const { cache, clock } = this.#parts;
    cache.dropExpired(clock.nowSeconds());
    this.#serve(this.#notYetValid.take(clock.nowSeconds(), (id) => cache.hasSvid(id)));
    const due = cache.dueForIssue(clock.nowSeconds());
    const waitMs = lane.retryAtMs - clock.monotonicMs();
    const nextAt = Math.min(due.nextAt, this.#notYetValid.nextAt);
    const untilDueMs = Math.max(1, nextAt * 1000 - clock.nowMs());
    if (waitMs > 0) return Math.min(waitMs, untilDueMs);
    const wanted = lane
      .pick(due)
      .filter((entry) => !this.#underWay.has(entry.id) && !this.#notYetValid.has(entry));
    const batch = wanted.filter((entry) => this.#retryInMs(entry) <= 0).slice(0, this.#batchSize);
    if (batch.length > 0) {
      await this.#issue(lane, batch, stopping);
      return 0;
    }
    return wanted.reduce((least, entry) => Math.min(least, this.#retryInMs(entry)), untilDueMs);
  }

  /** Milliseconds until the entry can be asked for again, if the server refused it. */
  #retryInMs(entry: WorkloadEntry): number {
    const refusal = this.#refusals.get(entry.id);
    if (refusal === undefined || !isSameRevision(refusal.entry, entry)) return 0;
    return refusal.retryAtMs - this.#parts.clock.monotonicMs();
  }

  async #issue(lane: Lane, batch: readonly WorkloadEntry[], stopping: AbortSignal): Promise<void> {
    const { log } = this.#parts;
    const connection = this.#parts.connection();
    for (const { id } of batch) this.#underWay.add(id);
    log.debug("Renewing X509-SVIDs", { count: batch.length });
    if (isLogged(log.settings, "debug")) this.#tellBatch(batch);
    try {
      const tools = { ...this.#parts, client: connection.clients.svid };
      const issue = (): ReturnType<typeof issueSvids> => issueSvids(tools, batch);
      const { svids, refused } = await countedCall(this.#parts, FETCH_SVIDS, issue);
      this.#take(svids);
      for (const id of svids.keys()) this.#refusals.delete(id);
      for (const one of refused) this.#refused(one);
      lane.backoff.reset();
      lane.failure = undefined;
      this.#batchSize = Math.min(MAX_BATCH_SIZE, this.#batchSize * 2);
    } catch (error) {
      if (stopping.aborted || (await this.#parts.onFailure(error, connection))) return;
      if (isTooMuch(error)) this.#batchSize = Math.max(1, Math.floor(this.#batchSize / 2));
      const pauseMs = lane.backoff.nextMs();
      lane.retryAtMs = this.#parts.clock.monotonicMs() + pauseMs;
      lane.failure = failureOf(error, pauseMs, this.#parts.clock);
      log.error("Could not get X509-SVIDs", { count: batch.length, error: errorText(error) });
    } finally {
      for (const { id } of batch) this.#underWay.delete(id);
    }
  }

  #tellBatch(batch: readonly WorkloadEntry[]): void {
    const { cache, log } = this.#parts;
    for (const { id, spiffeId } of batch) {
      const what = cache.hasSvid(id) ? "Renewing" : "Creating";
      log.debug(`${what} X509-SVID`, { entry_id: id, spiffe_id: spiffeId.toString() });
    }
  }

  /** Serves SVIDs from now on, except those that begin later and have a predecessor that is still good. */
  #take(svids: ReadonlyMap<string, IssuedSvid>): void {
    const { cache, clock, log } = this.#parts;
    const now = clock.nowSeconds();
    for (const [id, svid] of svids) this.#notYetValid.add(id, svid);
    this.#serve(this.#notYetValid.take(now, (id) => cache.hasSvid(id)));
    const aheadSeconds = Math.max(...[...svids.values()].map(({ notBefore }) => notBefore - now));
    if (aheadSeconds > 0) {
      log.warn(
        "The server's clock is ahead of this machine's: its X509-SVIDs are not valid here yet",
        { seconds: aheadSeconds },
      );
    }
  }

  #serve(svids: ReadonlyMap<string, IssuedSvid>): void {
    if (svids.size > 0) this.#parts.cache.setSvids(svids);
  }

  #refused({ entry, error, isChanging }: RefusedSvid): void {
    const { cache, clock, random } = this.#parts;
    for (const id of this.#refusals.keys()) if (!cache.entries.has(id)) this.#refusals.delete(id);
    const last = this.#refusals.get(entry.id);
    const backoff = last?.backoff ?? new Backoff(FIRST_PAUSE_MS, MAX_PAUSE_MS, random);
    const pauseMs = backoff.nextMs();
    const now = clock.monotonicMs();
    const isAgain = last !== undefined && isSameRevision(last.entry, entry);
    const refusal: Refusal = {
      entry,
      backoff,
      sinceMs: isAgain ? last.sinceMs : now,
      retryAtMs: now + pauseMs,
      failure: failureOf(error, pauseMs, clock),
    };
    this.#refusals.set(entry.id, refusal);
    if (!isChanging) cache.refuseSvid(entry);
    this.#tell(entry, error, isChanging && now - refusal.sinceMs < CHANGE_MS);
  }

  /** An entry that changes while its SVID is issued is nothing to alarm anybody with: the change arrives, and the SVID is asked for anew. */
  #tell(entry: WorkloadEntry, error: unknown, isPassing: boolean): void {
    const { cache, log } = this.#parts;
    const fields = { entry_id: entry.id, spiffe_id: entry.spiffeId.toString(), error };
    const known = cache.entries.get(entry.id);
    if (known === undefined || !isSameRevision(known, entry) || isPassing) {
      log.debug("Entry changes while its X509-SVID is issued", fields);
    } else {
      log.error("Could not get an X509-SVID", fields);
    }
  }
}

/** One of the two kinds of work, which do not wait for each other. */
interface Lane {
  readonly pick: (due: DueSvids) => readonly WorkloadEntry[];
  readonly backoff: Backoff;
  readonly wakeup: Wakeup;
  /** Milliseconds of the clock that never jumps. */
  retryAtMs: number;
  /** Of the last call, if it failed. */
  failure: Failure | undefined;
}

function newest(failures: readonly Failure[]): Failure | undefined {
  return failures.toSorted((a, b) => b.failedAt - a.failedAt)[0];
}

/** Whether fewer at a time may be what the server can do. */
function isTooMuch(error: unknown): boolean {
  if (!(error instanceof StatusError)) return false;
  return (
    error.code === StatusCode.DEADLINE_EXCEEDED || error.code === StatusCode.RESOURCE_EXHAUSTED
  );
}
