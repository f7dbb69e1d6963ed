import { compareEntries, type WorkloadEntry } from "./workload-entry.ts";

/**
 * Finds the entries that match a workload: those whose selectors are all among the workload's. Each entry is filed under one of its
 * selectors, the one with the fewest entries so far, so a lookup touches few entries that do not match.
 */
export class SelectorIndex {
  readonly #filed: Map<string, Set<WorkloadEntry>> = new Map();
  /** Where an entry was filed, by its ID. */
  readonly #places: Map<string, { readonly selector: string; readonly entry: WorkloadEntry }> =
    new Map();

  constructor(entries: Iterable<WorkloadEntry> = []) {
    for (const entry of entries) this.add(entry);
  }

  /** Takes an entry in, in place of the one with its ID. */
  add(entry: WorkloadEntry): void {
    this.remove(entry.id);
    const selector = this.#emptiest(entry.selectors);
    // An entry without selectors would match everybody, so it is never found.
    if (selector === undefined) return;
    const under = this.#filed.get(selector);
    if (under === undefined) this.#filed.set(selector, new Set([entry]));
    else under.add(entry);
    this.#places.set(entry.id, { selector, entry });
  }

  remove(id: string): void {
    const place = this.#places.get(id);
    if (place === undefined) return;
    this.#places.delete(id);
    const under = this.#filed.get(place.selector);
    under?.delete(place.entry);
    if (under?.size === 0) this.#filed.delete(place.selector);
  }

  #emptiest(selectors: readonly string[]): string | undefined {
    let best: string | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    for (const selector of selectors) {
      const count = this.#filed.get(selector)?.size ?? 0;
      if (count >= fewest) continue;
      best = selector;
      fewest = count;
    }
    return best;
  }

  /** The matching entries in the order in which the workload gets them: the first is its default. */
  match(selectors: ReadonlySet<string>): WorkloadEntry[] {
    const found: WorkloadEntry[] = [];
    for (const selector of selectors) {
      for (const entry of this.#filed.get(selector) ?? []) {
        if (entry.selectors.every((one) => selectors.has(one))) found.push(entry);
      }
    }
    return found.sort(compareEntries);
  }
}
