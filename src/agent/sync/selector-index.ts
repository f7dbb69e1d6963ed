import type { WorkloadEntry } from "./workload-entry.ts";

/**
 * Finds the entries that match a workload: those whose selectors are all among the workload's. Each entry is filed under one of its
 * selectors, the rarest, so a lookup touches few entries that do not match.
 */
export class SelectorIndex {
  readonly #filed: ReadonlyMap<string, readonly WorkloadEntry[]>;

  constructor(entries: Iterable<WorkloadEntry>) {
    const all = [...entries];
    const counts = new Map<string, number>();
    for (const { selectors } of all) {
      for (const selector of selectors) counts.set(selector, (counts.get(selector) ?? 0) + 1);
    }
    const filed = new Map<string, WorkloadEntry[]>();
    for (const entry of all) {
      // An entry without selectors would match everybody, so it is never found.
      const rarest = entry.selectors.toSorted(
        (a, b) => (counts.get(a) ?? 0) - (counts.get(b) ?? 0),
      )[0];
      if (rarest === undefined) continue;
      const under = filed.get(rarest);
      if (under === undefined) filed.set(rarest, [entry]);
      else under.push(entry);
    }
    this.#filed = filed;
  }

  /** The matching entries, sorted by ID: the first is the workload's default. */
  match(selectors: ReadonlySet<string>): WorkloadEntry[] {
    const found: WorkloadEntry[] = [];
    for (const selector of selectors) {
      for (const entry of this.#filed.get(selector) ?? []) {
        if (entry.selectors.every((one) => selectors.has(one))) found.push(entry);
      }
    }
    return withoutRepeatedHints(found.sort((a, b) => (a.id < b.id ? -1 : 1)));
  }
}

/** SPIFFE Workload API §5.2.1: a hint is unique in a response; the older entry keeps it. */
function withoutRepeatedHints(entries: readonly WorkloadEntry[]): WorkloadEntry[] {
  const holders = new Map<string, WorkloadEntry>();
  for (const entry of entries) {
    const other = holders.get(entry.hint);
    if (entry.hint === "" || (other !== undefined && isOlder(other, entry))) continue;
    holders.set(entry.hint, entry);
  }
  return entries.filter((entry) => entry.hint === "" || holders.get(entry.hint) === entry);
}

function isOlder(a: WorkloadEntry, b: WorkloadEntry): boolean {
  return a.createdAt === b.createdAt ? a.id < b.id : a.createdAt < b.createdAt;
}
