import { expect, test } from "bun:test";
import fc from "fast-check";
import { SelectorIndex } from "./selector-index.ts";
import { makeWorkloadEntry } from "./workload-entry.fixture.ts";
import type { WorkloadEntry } from "./workload-entry.ts";

const entry = (id: string, selectors: string[]) => makeWorkloadEntry(id, { selectors });
const ids = (entries: readonly WorkloadEntry[]): string[] => entries.map(({ id }) => id);

test("finds the same entries as looking at each of them", () => {
  const selector = fc.constantFrom(
    "unix:uid:1",
    "unix:uid:2",
    "unix:gid:1",
    "unix:path:/a",
    "unix:path:/b",
  );
  const set = fc.uniqueArray(selector, { maxLength: 4 });
  fc.assert(
    fc.property(fc.array(set, { maxLength: 20 }), set, (lists, workload) => {
      const entries = lists.map((selectors, index) => entry(`e${index}`.padEnd(4, "-"), selectors));
      const held = new Set<string>(workload);
      const expected = entries
        .filter(({ selectors }) => selectors.length > 0 && selectors.every((one) => held.has(one)))
        .map(({ id }) => id)
        .sort();
      expect(ids(new SelectorIndex(entries).match(held))).toEqual(expected);
    }),
  );
});

test("an entry without selectors matches nobody", () => {
  expect(new SelectorIndex([entry("a", [])]).match(new Set(["unix:uid:0"]))).toEqual([]);
});

test("the oldest entry comes first, but for one whose hint makes it the default", () => {
  const selectors = ["unix:uid:1"];
  const index = new SelectorIndex([
    makeWorkloadEntry("a", { selectors, createdAt: 30 }),
    makeWorkloadEntry("b", { selectors, createdAt: 20, hint: "internal" }),
    makeWorkloadEntry("d", { selectors, createdAt: 10 }),
    makeWorkloadEntry("c", { selectors, createdAt: 10 }),
    makeWorkloadEntry("e", { selectors, createdAt: 40, hint: "default" }),
  ]);
  const order = index.match(new Set(selectors)).map(({ id }) => id);
  expect(order).toEqual(["e", "c", "d", "b", "a"]);
});
