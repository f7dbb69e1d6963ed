import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";

interface OfEntry {
  readonly entry: WorkloadEntry;
}

/** SPIFFE Workload API §5.2.1: a hint is unique in a response; the older entry keeps it. */
export function withoutRepeatedHints<T extends OfEntry>(identities: readonly T[]): T[] {
  const holders = new Map<string, WorkloadEntry>();
  for (const { entry } of identities) {
    const other = holders.get(entry.hint);
    if (other === undefined || isOlder(entry, other)) holders.set(entry.hint, entry);
  }
  return identities.filter(({ entry }) => entry.hint === "" || holders.get(entry.hint) === entry);
}

function isOlder(a: WorkloadEntry, b: WorkloadEntry): boolean {
  return a.createdAt === b.createdAt ? a.id < b.id : a.createdAt < b.createdAt;
}
