import { expect, test } from "bun:test";
import { didYouMean, nearest } from "./nearest.ts";

test.each([
  ["entyr", ["agent", "entry", "bundle"], "entry"],
  ["craete", ["count", "create", "delete"], "create"],
  ["spifeID", ["spiffeID", "selector"], "spiffeID"],
  ["udi", ["uid", "gid", "user"], "uid"],
  ["data-dir", ["dataDir"], "dataDir"],
  ["SOCKETPATH", ["socketPath"], "socketPath"],
  ["entri", ["entries", "entry"], "entry"],
  ["x", ["y", "run"], undefined],
  ["rum", ["run"], "run"],
  ["ls", ["list"], undefined],
  ["bogus", ["bundle"], undefined],
  ["", ["a"], undefined],
  ["a".repeat(5000), ["a".repeat(5001)], undefined],
])("%s among %p", (given, known, expected) => {
  expect(nearest(given, known)).toBe(expected);
});

test("words for a message", () => {
  expect(didYouMean("rum", ["run"])).toBe('; did you mean "run"?');
  expect(didYouMean("walk", ["run"])).toBe("");
});
