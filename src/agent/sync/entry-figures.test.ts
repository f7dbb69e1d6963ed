import { expect, test } from "bun:test";
import { workloadEntry } from "#agent/cache/workload-entry.ts";
import { Entry } from "#proto/spire/api/types/entry.ts";
import { noMetrics } from "#telemetry/metrics.ts";
import { measureEntries } from "./entry-figures.ts";

const entries = (...given: readonly [id: string, revision: number][]) =>
  new Map(
    given.map(([id, revision]) => {
      const spiffeId = { trustDomain: "example.org", path: `/${id}` };
      const revisionNumber = revision;
      return [id, workloadEntry(Entry.fromPartial({ id, spiffeId, revisionNumber }))] as const;
    }),
  );

test("what a whole answer brings is told apart: new, changed, gone", () => {
  const figures: Record<string, number> = {};
  const metrics = {
    ...noMetrics,
    gauge: ([name = ""]: readonly string[], value: number) => {
      figures[name] = value;
    },
    count: ([name = ""]: readonly string[], _labels: unknown, by = 1) => {
      figures[name] = by;
    },
  };
  const known = entries(["a", 1], ["b", 1], ["c", 1], ["d", 1]);
  measureEntries(metrics, known, entries(["a", 1], ["b", 2], ["e", 1], ["f", 1], ["g", 1]));
  expect(figures).toEqual({
    sync_entries_missing: 3,
    sync_entries_stale: 1,
    sync_entries_dropped: 2,
    lru_cache_entry_add: 3,
    lru_cache_entry_update: 1,
    lru_cache_entry_remove: 2,
  });
});
