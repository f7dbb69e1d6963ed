import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import type { Log } from "#log/log.ts";

interface OfEntry {
  readonly entry: WorkloadEntry;
}

/** Pairs that were told of are remembered up to here, then told of again. */
const MAX_TOLD = 1000;

/**
 * SPIFFE Workload API §5.2.1: a hint is unique in a response; the older entry keeps it.
 *
 * @param identities as the cache gives them, the older ones first
 */
export function withoutRepeatedHints<T extends OfEntry>(identities: readonly T[]): T[] {
  return without(leftOutFor(identities), identities);
}

function without<T extends OfEntry>(
  leftOut: ReadonlyMap<WorkloadEntry, WorkloadEntry>,
  identities: readonly T[],
): T[] {
  return leftOut.size === 0
    ? [...identities]
    : identities.filter(({ entry }) => !leftOut.has(entry));
}

/** The entries that are left out, each with the one that has the same hint and is handed out. */
export function leftOutFor(
  identities: readonly OfEntry[],
): ReadonlyMap<WorkloadEntry, WorkloadEntry> {
  const holders = new Map<string, WorkloadEntry>();
  const leftOut = new Map<WorkloadEntry, WorkloadEntry>();
  for (const { entry } of identities) {
    if (entry.hint === "") continue;
    const holder = holders.get(entry.hint);
    if (holder === undefined) holders.set(entry.hint, entry);
    else leftOut.set(entry, holder);
  }
  return leftOut;
}

/** Tells the operator of entries that are left out, of each once. */
export class LeftOutLog {
  readonly #log: Log;
  readonly #told: Set<string> = new Set();

  constructor(log: Log) {
    this.#log = log;
  }

  /** The same as withoutRepeatedHints, and tells of what it leaves out. */
  withoutRepeatedHints<T extends OfEntry>(identities: readonly T[]): T[] {
    const leftOut = leftOutFor(identities);
    this.#tell(leftOut);
    return without(leftOut, identities);
  }

  #tell(leftOut: ReadonlyMap<WorkloadEntry, WorkloadEntry>): void {
    for (const [entry, holder] of leftOut) {
      const pair = JSON.stringify([entry.id, holder.id, entry.hint]);
      if (this.#told.has(pair)) continue;
      if (this.#told.size >= MAX_TOLD) this.#told.clear();
      this.#told.add(pair);
      this.#log.warn(
        "An entry has the hint of another; the Workload API hands out the older alone",
        {
          hint: entry.hint,
          entry_id: entry.id,
          spiffe_id: entry.spiffeId.toString(),
          older_entry_id: holder.id,
          older_spiffe_id: holder.spiffeId.toString(),
        },
      );
    }
  }
}
