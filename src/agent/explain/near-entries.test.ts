import { expect, test } from "bun:test";
import fc from "fast-check";
import { makeWorkloadEntry } from "#agent/cache/workload-entry.fixture.ts";
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import { systemClock } from "#clock/clock.ts";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { nearEntries } from "./near-entries.ts";

const entry = (name: string, selectors: readonly string[]) =>
  makeWorkloadEntry(name, { selectors });

test("the nearest are those that sorting all of them would put first", async () => {
  const selector = fc.constantFrom("unix:uid:1", "unix:uid:2", "unix:gid:1", "unix:path:/a");
  const set = fc.uniqueArray(selector, { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(fc.array(set, { maxLength: 30 }), set, async (lists, workload) => {
      const held = new Set<string>(workload);
      const entries = lists.map((selectors, at) => entry(`e${at}`, selectors));
      const lacking = ({ selectors }: WorkloadEntry): number =>
        selectors.filter((one) => !held.has(one)).length;
      const expected = entries
        .filter((one) => lacking(one) > 0)
        .sort(
          (a, b) =>
            lacking(a) - lacking(b) ||
            b.selectors.length - a.selectors.length ||
            (a.id < b.id ? -1 : 1),
        )
        .slice(0, 5);
      const near = await nearEntries(entries, held, 5, new ManualClock(0));
      expect(near.map((one) => one.entry.id)).toEqual(expected.map(({ id }) => id));
      for (const { entry: one, has, lacks } of near) {
        expect([...has, ...lacks].sort()).toEqual([...one.selectors].sort());
        expect(has.every((selector) => held.has(selector))).toBe(true);
      }
    }),
  );
});

test("other work gets its turn between many entries", async () => {
  const many = Array.from({ length: 10_000 }, (_, at) => entry(`e${at}`, ["unix:uid:9"]));
  let turns = 0;
  const counting = setInterval(() => turns++);
  const near = await nearEntries(many, new Set(["unix:uid:1"]), 3, systemClock);
  clearInterval(counting);
  expect(near.map((one) => one.entry.id)).toEqual(["e0", "e1", "e10"]);
  expect(turns).toBeGreaterThan(0);
});
