/**
 * The workloads whose streams are open, grouped by their selectors: what one of them is, all of its group are. A change reaches the
 * groups that it concerns and wakes nobody else.
 */
import type { Clock } from "#clock/clock.ts";
import type { WorkloadEntry } from "./workload-entry.ts";

/** Streams woken in one go, so that a change of the bundle, which concerns all, does not hold up everything else. */
const WAKES_AT_ONCE = 200;

/** Whether a stream hands out X509-SVIDs, which have to be issued for it, or bundles alone: those of the caller's entries, or all. */
export type CallerNeed = "x509-svids" | "bundles" | "all-bundles";

export class CallerGroup {
  readonly selectors: ReadonlySet<string>;
  entries: readonly WorkloadEntry[];
  /** Grows with each change that concerns this group. */
  version = 0;
  /** Streams of each kind. */
  readonly streams: Record<CallerNeed, number> = {
    "x509-svids": 0,
    bundles: 0,
    "all-bundles": 0,
  };
  readonly waiting: Set<() => void> = new Set();

  constructor(selectors: ReadonlySet<string>, entries: readonly WorkloadEntry[]) {
    this.selectors = selectors;
    this.entries = entries;
  }
}

export class Callers {
  readonly #clock: Clock;
  readonly #match: (selectors: ReadonlySet<string>) => readonly WorkloadEntry[];
  readonly #groups: Map<string, CallerGroup> = new Map();
  readonly #bySelector: Map<string, Set<CallerGroup>> = new Map();
  /** How many groups wait for the X509-SVIDs of an entry, by its ID. */
  readonly #demand: Map<string, number> = new Map();
  readonly #wakes: (() => void)[] = [];
  #waking = false;

  constructor(clock: Clock, match: (selectors: ReadonlySet<string>) => readonly WorkloadEntry[]) {
    this.#clock = clock;
    this.#match = match;
  }

  /** Whether a stream that is open hands out the entry's X509-SVIDs. */
  needs(entryId: string): boolean {
    return this.#demand.has(entryId);
  }

  join(selectors: ReadonlySet<string>, need: CallerNeed): CallerGroup {
    const key = keyOf(selectors);
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = new CallerGroup(selectors, this.#match(selectors));
      this.#groups.set(key, group);
      for (const selector of selectors) this.#filed(selector).add(group);
    }
    group.streams[need]++;
    if (need === "x509-svids" && group.streams[need] === 1) this.#count(group.entries, 1);
    return group;
  }

  leave(group: CallerGroup, need: CallerNeed): void {
    group.streams[need]--;
    if (need === "x509-svids" && group.streams[need] === 0) this.#count(group.entries, -1);
    if (Object.values(group.streams).some((count) => count > 0)) return;
    this.#groups.delete(keyOf(group.selectors));
    for (const selector of group.selectors) {
      const under = this.#bySelector.get(selector);
      under?.delete(group);
      if (under?.size === 0) this.#bySelector.delete(selector);
    }
  }

  /** Entries came, went or changed; give each as it was and as it is. */
  entriesChanged(entries: Iterable<WorkloadEntry>): void {
    for (const group of this.#concerned(entries)) {
      const before = group.entries;
      group.entries = this.#match(group.selectors);
      if (group.streams["x509-svids"] > 0) {
        this.#count(group.entries, 1);
        this.#count(before, -1);
      }
      this.#touch(group);
    }
  }

  /** Something was issued for the entries, or expired. */
  svidsChanged(entries: Iterable<WorkloadEntry>): void {
    for (const group of this.#concerned(entries)) this.#touch(group);
  }

  /** Something else has changed that concerns the groups that the test accepts. */
  changed(concerns: (group: CallerGroup) => boolean): void {
    for (const group of this.#groups.values()) if (concerns(group)) this.#touch(group);
  }

  #concerned(entries: Iterable<WorkloadEntry>): Set<CallerGroup> {
    const found = new Set<CallerGroup>();
    for (const { selectors } of entries) {
      for (const group of this.#fewest(selectors)) {
        if (selectors.every((one) => group.selectors.has(one))) found.add(group);
      }
    }
    return found;
  }

  /** The smallest set of groups that all who have these selectors are in. */
  #fewest(selectors: readonly string[]): Iterable<CallerGroup> {
    let best: ReadonlySet<CallerGroup> = NOBODY;
    for (const [index, selector] of selectors.entries()) {
      const under = this.#bySelector.get(selector) ?? NOBODY;
      if (index === 0 || under.size < best.size) best = under;
    }
    return best;
  }

  #filed(selector: string): Set<CallerGroup> {
    let under = this.#bySelector.get(selector);
    if (under === undefined) {
      under = new Set();
      this.#bySelector.set(selector, under);
    }
    return under;
  }

  #count(entries: readonly WorkloadEntry[], by: 1 | -1): void {
    for (const { id } of entries) {
      const count = (this.#demand.get(id) ?? 0) + by;
      if (count === 0) this.#demand.delete(id);
      else this.#demand.set(id, count);
    }
  }

  #touch(group: CallerGroup): void {
    group.version++;
    for (const wake of group.waiting) this.#wakes.push(wake);
    group.waiting.clear();
    if (!this.#waking) this.#wakeSome();
  }

  #wakeSome(): void {
    for (const wake of this.#wakes.splice(0, WAKES_AT_ONCE)) wake();
    this.#waking = this.#wakes.length > 0;
    if (this.#waking) this.#clock.after(0, () => this.#wakeSome());
  }
}

const NOBODY: ReadonlySet<CallerGroup> = new Set();

function keyOf(selectors: ReadonlySet<string>): string {
  return JSON.stringify([...selectors].sort());
}
