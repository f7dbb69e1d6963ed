/**
 * Carries the workload cache over a restart of the agent, so that one that comes back while the server is away goes on serving. JWT-SVIDs
 * stay behind: they are short-lived and made anew on demand.
 */
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type { Clock } from "#clock/clock.ts";
import { Wakeup } from "#clock/wakeup.ts";
import type { Log } from "#log/log.ts";
import { decodeSnapshot, encodeSnapshot, type Snapshot } from "./snapshot.ts";
import type { SnapshotStore } from "./snapshot-store.ts";

/** A busy cache is written down this often, but what is taken away from somebody at once: it must not come back with a restart. */
const PAUSE_MS = 1_000;
/** The pause is at least so many times as long as the writing took; a very large cache is written down less often. */
const REST = 20;
const PAUSE_AFTER_FAILURE_MS = 10_000;

/** Who the agent is; a snapshot of anybody else is not for its workloads. */
export interface Owner {
  readonly trustDomain: string;
  readonly agentId: string;
}

export interface CacheKeeperParts {
  readonly store: SnapshotStore;
  readonly cache: WorkloadCache;
  /** Undefined while the agent has no identity; then nothing is kept. */
  readonly owner: () => Owner | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

export class CacheKeeper {
  readonly #parts: CacheKeeperParts;
  #sequence = 0;
  /** The version of the cache that was kept last. */
  #kept = -1;
  /** Whether it could not be kept last time: the log says that once. */
  #failing = false;
  #running: Promise<void> = Promise.resolve();
  readonly #stopping: AbortController = new AbortController();

  constructor(parts: CacheKeeperParts) {
    this.#parts = parts;
  }

  /** Fills the cache with what the last run kept. Whatever cannot be used is left out, with a line in the log. @returns whether it did */
  async restore(): Promise<boolean> {
    const { store, cache, owner, clock, log } = this.#parts;
    const self = owner();
    const found = (await this.#load()).filter(({ header }) => {
      this.#sequence = Math.max(this.#sequence, header.sequence);
      const ours = header.trustDomain === self?.trustDomain && header.agentId === self.agentId;
      if (!ours) {
        log.warn("Ignoring the saved workload cache of another agent", {
          place: store.place,
          spiffe_id: header.agentId,
        });
      }
      return ours;
    });
    const [newest] = found.sort((a, b) => b.header.sequence - a.header.sequence);
    if (newest === undefined) return false;
    cache.restore(newest.content);
    cache.dropExpired(clock.nowSeconds());
    const { entries, svids } = cache.content();
    log.info("Workload cache restored", {
      place: store.place,
      entries: entries.size,
      svids: svids.size,
      expired_svids: newest.content.svids.size - svids.size,
      age_seconds: clock.nowSeconds() - newest.header.writtenAt,
    });
    return true;
  }

  /** Keeps every change from now on. */
  start(): void {
    this.#running = this.#run(this.#stopping.signal);
  }

  /** Keeps what the cache holds at last, or forgets what was kept if the agent is nobody any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#keep();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { cache, clock } = this.#parts;
    const changed = new Wakeup(clock);
    const takenAway = new Wakeup(clock);
    cache.onChange((takesAway) => {
      changed.wake();
      if (takesAway) takenAway.wake();
    });
    for (;;) {
      const started = clock.monotonicMs();
      if (await this.#keep()) {
        const restMs = REST * (clock.monotonicMs() - started);
        await clock.sleep(restMs, signal);
        if (restMs < PAUSE_MS) await takenAway.wait(PAUSE_MS - restMs, signal);
        await changed.wait(Number.POSITIVE_INFINITY, signal);
      } else await clock.sleep(PAUSE_AFTER_FAILURE_MS, signal);
      if (signal.aborted) return;
    }
  }

  /** @returns whether it worked; if not, the log says so */
  async #keep(): Promise<boolean> {
    const { store, cache, owner, log } = this.#parts;
    const { version } = cache;
    const self = owner();
    try {
      if (self === undefined) await store.clear();
      else if (version !== this.#kept && cache.isFilled) await this.#write(self);
      this.#kept = version;
      this.#failing = false;
      return true;
    } catch (error) {
      const place = { place: store.place, error };
      if (!this.#failing) log.warn("Unable to save the workload cache for the next start", place);
      this.#failing = true;
      return false;
    }
  }

  async #write(self: Owner): Promise<void> {
    const { store, cache, clock } = this.#parts;
    const header = { ...self, sequence: ++this.#sequence, writtenAt: clock.nowSeconds() };
    const snapshot = { header, content: cache.content() };
    const bytes = await encodeSnapshot(snapshot, () => clock.sleep(0));
    await store.replace(bytes);
    // Copies of private keys are not left lying about.
    bytes.fill(0);
  }

  async #load(): Promise<Snapshot[]> {
    const { store, log } = this.#parts;
    const ignored = (error: unknown): void =>
      log.warn("Ignoring the saved workload cache", { place: store.place, error });
    const found: Snapshot[] = [];
    try {
      for (const bytes of await store.load()) {
        try {
          found.push(decodeSnapshot(bytes));
        } catch (error) {
          ignored(error);
        }
      }
    } catch (error) {
      ignored(error);
    }
    return found;
  }
}
