import { expect, test } from "bun:test";
import { makeWorkloadEntry } from "#agent/cache/workload-entry.fixture.ts";
import { withoutRepeatedHints } from "./hints.ts";

const identity = (id: string, hint = "", createdAt = 0) => ({
  entry: makeWorkloadEntry(id, { hint, createdAt }),
});

test("Workload API §5.2.1: of two entries with one hint the older stays; without hints all do", () => {
  const all = [
    identity("a", "h", 20),
    identity("b", "h", 10),
    identity("c"),
    identity("d"),
    identity("e", "i", 5),
    identity("f", "i", 5),
  ];
  expect(withoutRepeatedHints(all).map(({ entry }) => entry.id)).toEqual(["b", "c", "d", "e"]);
});
