/** What is told of the entries that an agent holds: figures by the names that the reference has for them, and each change in the log. */
import { isSameRevision, type WorkloadEntry } from "#agent/cache/workload-entry.ts";
import { isLogged, type Log, type LogFields } from "#log/log.ts";
import type { Metrics } from "#telemetry/metrics.ts";

/** Names each entry that comes, changes or goes, at level debug. @param known the entries before */
export function logEntries(
  log: Log,
  known: ReadonlyMap<string, WorkloadEntry>,
  stored: Iterable<WorkloadEntry>,
  removedIds: Iterable<string>,
): void {
  if (!isLogged(log.settings, "debug")) return;
  const fields = ({ id, spiffeId }: WorkloadEntry): LogFields => ({
    entry_id: id,
    spiffe_id: spiffeId.toString(),
  });
  for (const entry of stored) {
    const present = known.get(entry.id);
    if (present === undefined) log.debug("Entry created", fields(entry));
    else if (!isSameRevision(present, entry)) log.debug("Entry updated", fields(entry));
  }
  for (const id of removedIds) {
    const present = known.get(id);
    if (present !== undefined) log.debug("Entry removed", fields(present));
  }
}

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
