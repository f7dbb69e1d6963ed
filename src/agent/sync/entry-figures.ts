/** Figures of the entries that an agent holds, by the names that the reference has for them. */
import { isSameRevision, type WorkloadEntry } from "#agent/cache/workload-entry.ts";
import type { Metrics } from "#telemetry/metrics.ts";

/** Tells what a whole answer of the server means for what is known: the names are the reference's. */
export function measureEntries(
  metrics: Metrics,
  known: ReadonlyMap<string, WorkloadEntry>,
  fetched: ReadonlyMap<string, WorkloadEntry>,
): void {
  let missing = 0;
  let stale = 0;
  for (const [id, entry] of fetched) {
    const present = known.get(id);
    if (present === undefined) missing++;
    else if (!isSameRevision(present, entry)) stale++;
  }
  const dropped = known.size + missing - fetched.size;
  metrics.gauge(["sync_entries_total"], fetched.size);
  metrics.gauge(["sync_entries_missing"], missing);
  metrics.gauge(["sync_entries_stale"], stale);
  metrics.gauge(["sync_entries_dropped"], dropped);
  countEntries(metrics, { added: missing, updated: stale, removed: dropped });
}

/** Tells of entries that came, changed and went. */
export function countEntries(
  metrics: Metrics,
  changes: { readonly added: number; readonly updated: number; readonly removed: number },
): void {
  metrics.count(["lru_cache_entry_add"], {}, changes.added);
  metrics.count(["lru_cache_entry_update"], {}, changes.updated);
  metrics.count(["lru_cache_entry_remove"], {}, changes.removed);
}
