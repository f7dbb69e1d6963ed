/** Brings what the server has into the cache: everything on demand, single changes as they are told. */
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import { isEarlier, type WorkloadEntry } from "#agent/cache/workload-entry.ts";
import type { ServerLink } from "#agent/own-svid/server-link.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { Log } from "#log/log.ts";
import type { Change } from "#proto/spire_edge/changes/v1/changes.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import { errorText } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { countedCall, type Metrics } from "#telemetry/metrics.ts";
import { countEntries, logEntries, measureEntries } from "./entry-figures.ts";
import { FederatedBundles, fetchOwnBundle } from "./fetch-bundles.ts";
import { fetchEntries, workloadEntries } from "./fetch-entries.ts";

export interface CacheUpdatesParts {
  readonly trustDomain: TrustDomain;
  readonly cache: WorkloadCache;
  readonly link: Pick<ServerLink, "clients" | "takeRoots">;
  readonly onOwnBundle: (bundle: Bundle) => void;
  /** A change could not be followed up: everything has to be fetched. */
  readonly onMissed: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly log: Log;
}

const FETCH_ENTRIES = ["manager", "sync", "fetch_entries_updates"];

interface EntryChange {
  readonly stored: readonly WorkloadEntry[];
  readonly removedIds: readonly string[];
}

export class CacheUpdates {
  readonly #parts: CacheUpdatesParts;
  readonly #federated: FederatedBundles;
  /** What was told while all entries were being fetched: the answer may be older than that. */
  #journal: EntryChange[] | undefined;
  #ownUnderWay: Promise<void> = Promise.resolve();
  #ownQueued: Promise<void> | undefined;

  constructor(parts: CacheUpdatesParts) {
    const { cache, link, clock, random, log } = parts;
    this.#parts = parts;
    this.#federated = new FederatedBundles({
      client: () => link.clients.bundle,
      onBundle: (name, bundle) => {
        if (bundle === undefined) cache.deleteBundle(name);
        else cache.setBundle(bundle);
      },
      clock,
      random,
      log,
    });
  }

  /** Fetches all entries and our own bundle, and starts with the federated ones. @throws StatusError */
  async fetchAll(): Promise<void> {
    this.#federated.refresh();
    await Promise.all([this.#fetchEntries(), this.#fetchOwnBundle()]);
  }

  /** Takes in what a change tells, and fetches what it only names. */
  apply({ storedEntries, removedEntryIds, changedBundles }: Change): void {
    const { cache, trustDomain, metrics, log } = this.#parts;
    const stored = workloadEntries(storedEntries, log);
    const kept = new Set(stored.map(({ id }) => id));
    // One that is for a store from now on, or makes no sense any more, is as good as removed.
    const dropped = storedEntries.flatMap(({ id }) => (kept.has(id) ? [] : [id]));
    const change = { stored, removedIds: [...removedEntryIds, ...dropped] };
    this.#journal?.push(change);
    const fresh = news(stored, cache.entries);
    countEntries(metrics, {
      added: fresh.filter(({ id }) => !cache.entries.has(id)).length,
      updated: fresh.filter(({ id }) => cache.entries.has(id)).length,
      removed: change.removedIds.filter((id) => cache.entries.has(id)).length,
    });
    logEntries(log, cache.entries, fresh, change.removedIds);
    cache.changeEntries(fresh, change.removedIds);
    this.#wantFederated();
    this.#federated.refresh(changedBundles);
    if (changedBundles.includes(trustDomain.name)) this.#followOwnBundle();
  }

  stop(): void {
    this.#federated.stop();
  }

  async #fetchEntries(): Promise<void> {
    const { cache, link, metrics, log } = this.#parts;
    const journal: EntryChange[] = [];
    this.#journal = journal;
    try {
      const fetch = (): ReturnType<typeof fetchEntries> =>
        fetchEntries(link.clients.entry, cache.entries, log);
      const entries = new Map(await countedCall(this.#parts, FETCH_ENTRIES, fetch));
      for (const { stored, removedIds } of journal) {
        for (const id of removedIds) entries.delete(id);
        for (const entry of news(stored, entries)) entries.set(entry.id, entry);
      }
      measureEntries(metrics, cache.entries, entries);
      const gone = [...cache.entries.keys()].filter((id) => !entries.has(id));
      logEntries(log, cache.entries, entries.values(), gone);
      cache.setEntries(entries);
      this.#wantFederated();
    } finally {
      this.#journal = undefined;
    }
  }

  #wantFederated(): void {
    const { cache, trustDomain } = this.#parts;
    const wanted = new Set<string>();
    for (const { federatesWith } of cache.entries.values()) {
      for (const name of federatesWith) wanted.add(name);
    }
    wanted.delete(trustDomain.name);
    this.#federated.want(wanted);
  }

  #followOwnBundle(): void {
    const { log, onMissed } = this.#parts;
    this.#fetchOwnBundle().catch((error: unknown) => {
      log.warn("Trust bundle could not be fetched", { error: errorText(error) });
      onMissed();
    });
  }

  /** One fetch at a time, so that an older answer never comes last. Resolves when one that began after the call has ended. */
  #fetchOwnBundle(): Promise<void> {
    this.#ownQueued ??= this.#ownUnderWay.then(() => {
      this.#ownQueued = undefined;
      const fetching = this.#fetchOwnBundleNow();
      this.#ownUnderWay = fetching.catch(() => {});
      return fetching;
    });
    return this.#ownQueued;
  }

  async #fetchOwnBundleNow(): Promise<void> {
    const { cache, link, trustDomain } = this.#parts;
    const bundle = await fetchOwnBundle(link.clients.bundle, trustDomain);
    cache.setBundle(bundle);
    this.#parts.onOwnBundle(bundle);
    await link.takeRoots(bundle.x509Authorities.map(({ certificate }) => certificate));
  }
}

/** The entries that are not older than those known. */
function news(
  stored: readonly WorkloadEntry[],
  known: ReadonlyMap<string, WorkloadEntry>,
): WorkloadEntry[] {
  return stored.filter((entry) => {
    const present = known.get(entry.id);
    return present === undefined || !isEarlier(entry, present);
  });
}
