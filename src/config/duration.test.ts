import { expect, test } from "bun:test";
import { formatDuration, parseDuration } from "./duration.ts";
import { expandEnv } from "./expand-env.ts";

test.each([
  ["0", 0],
  ["1h", 3600],
  ["1h30m", 5400],
  ["1.5h", 5400],
  ["250ms", 0.25],
  ["-2s", -2],
  ["720h", 2_592_000],
])("parses %s as Go does", (text, seconds) => expect(parseDuration(text)).toBeCloseTo(seconds, 9));

test.each([
  ["", 'time: invalid duration ""'],
  ["soon", 'time: invalid duration "soon"'],
  ["10", 'time: missing unit in duration "10"'],
  ["1d", 'time: invalid duration "1d"'],
])("refuses %j in Go's words", (text, why) => expect(() => parseDuration(text)).toThrow(why));

test.each([
  [0, "0s"],
  [3600, "1h0m0s"],
  [90, "1m30s"],
  [0.00267, "2.67ms"],
  [5.5, "5.5s"],
])("prints %d s as Go does", (seconds, text) => expect(formatDuration(seconds)).toBe(text));

test("expands variables, and drops those that are not set", () => {
  expect(expandEnv(["a $X $", "{X}y $NONE. $$"].join(""), { X: "1" })).toBe("a 1 1y . $");
});
