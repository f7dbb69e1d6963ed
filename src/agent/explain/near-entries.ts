import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import type { Clock } from "#clock/clock.ts";

/** An entry that does not match a process, and why. */
export interface NearEntry {
  readonly entry: WorkloadEntry;
  /** `type:value`: its selectors that the process has, and those that it has not. */
  readonly has: readonly string[];
  readonly lacks: readonly string[];
}

/** Between two looks at the clock's queue: far less than the loop may be held up. */
const AT_ONCE = 2_000;

/**
 * The entries that match least badly: those that lack the fewest selectors, then those that have the most, then by SPIFFE ID. An agent may
 * have very many entries, so other work gets its turn in between.
 *
 * @param selectors `type:value`, of the process
 * @param limit how many at most
 */
export async function nearEntries(
  entries: Iterable<WorkloadEntry>,
  selectors: ReadonlySet<string>,
  limit: number,
  clock: Clock,
): Promise<readonly NearEntry[]> {
  const nearest: NearEntry[] = [];
  let looked = 0;
  for (const entry of entries) {
    if (++looked % AT_ONCE === 0) await clock.sleep(0);
    const one = compared(entry, selectors);
    if (one.lacks.length === 0 && one.has.length > 0) continue;
    const last = nearest.at(-1);
    if (nearest.length === limit && last !== undefined && order(last, one) <= 0) continue;
    const at = nearest.findIndex((other) => order(one, other) < 0);
    nearest.splice(at === -1 ? nearest.length : at, 0, one);
    if (nearest.length > limit) nearest.pop();
  }
  return nearest;
}

function compared(entry: WorkloadEntry, selectors: ReadonlySet<string>): NearEntry {
  return {
    entry,
    has: entry.selectors.filter((one) => selectors.has(one)),
    lacks: entry.selectors.filter((one) => !selectors.has(one)),
  };
}

/** Below zero when the first is nearer. */
function order(a: NearEntry, b: NearEntry): number {
  return (
    a.lacks.length - b.lacks.length ||
    b.has.length - a.has.length ||
    (a.entry.spiffeId.toString() < b.entry.spiffeId.toString() ? -1 : 1)
  );
}
