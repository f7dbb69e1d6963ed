import { expect, test } from "bun:test";
import { PendingChanges } from "./changes-pending.ts";

const ids = (from: number, length: number): string[] =>
  Array.from({ length }, (_, n) => `e${from + n}`);

test("what changed twice is told once", () => {
  const pending = new PendingChanges();
  expect(pending.isEmpty).toBe(true);
  pending.addEntries(["a", "b"]);
  pending.addEntries(["b", "c"]);
  pending.addBundles(["other.org"]);
  pending.addBundles(["other.org", "example.org"]);
  expect(pending.isEmpty).toBe(false);
  expect(pending.take()).toEqual({
    everything: false,
    entryIds: ["a", "b", "c"],
    bundles: ["other.org", "example.org"],
  });
  expect(pending.isEmpty).toBe(true);
  expect(pending.take()).toEqual({ everything: false, entryIds: [], bundles: [] });
});

test("any number of changes of 500 entries is listed, a 501st entry makes it everything", () => {
  const pending = new PendingChanges();
  for (let round = 0; round < 10; round++) {
    for (const id of ids(0, 500)) pending.addEntries([id]);
  }
  expect(pending.take()).toEqual({ everything: false, entryIds: ids(0, 500), bundles: [] });
  pending.addEntries(ids(0, 500));
  pending.addEntries(["e500"]);
  expect(pending.take()).toEqual({ everything: true, entryIds: [], bundles: [] });
});

test("everything covers what came before and what comes after, and then it starts anew", () => {
  const pending = new PendingChanges();
  pending.addEntries(["a"]);
  pending.addBundles(["example.org"]);
  pending.addEverything();
  pending.addEntries(["b"]);
  pending.addBundles(["other.org"]);
  expect(pending.take()).toEqual({ everything: true, entryIds: [], bundles: [] });
  pending.addEntries(["c"]);
  expect(pending.take().entryIds).toEqual(["c"]);
});

test("more than 500 bundles are everything", () => {
  const pending = new PendingChanges();
  for (let n = 0; n <= 500; n++) pending.addBundles([`td${n}.org`]);
  expect(pending.take()).toEqual({ everything: true, entryIds: [], bundles: [] });
});
