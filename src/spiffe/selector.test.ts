import { describe, expect, test } from "bun:test";
import {
  compareSelectors,
  type MatchBehavior,
  type Selector,
  selectorProblem,
  selectorsMatch,
} from "./selector.ts";

const selector = (type: string, value: string): Selector => ({ type, value });

test("selectors are ordered by type, then by value", () => {
  const ordered = [
    selector("a", "z"),
    selector("b", "1"),
    selector("b", "10"),
    selector("b", "2"),
    selector("c", "0"),
  ];
  for (const [i, one] of ordered.entries()) {
    for (const [j, other] of ordered.entries())
      expect(compareSelectors(one, { ...other })).toBe(Math.sign(i - j));
  }
});

test.each([
  ["a", "b:c", undefined],
  ["", "b", "missing selector type"],
  ["a:b", "c", "selector type contains ':'"],
  ["a", "", "missing selector value"],
])("of type %p and value %p: %p", (type, value, problem) => {
  expect(selectorProblem({ type, value })).toBe(problem);
});

describe("selectorsMatch", () => {
  test.each<[string, string, readonly MatchBehavior[]]>([
    ["ab", "ab", ["exact", "subset", "superset", "any"]],
    ["a", "ab", ["subset", "any"]],
    ["ab", "a", ["superset", "any"]],
    ["ab", "bc", ["any"]],
    ["ab", "cd", []],
    ["a", "b", []],
  ])("%p against %p matches %p", (record, filter, expected) => {
    const all: readonly MatchBehavior[] = ["exact", "subset", "superset", "any"];
    const matching = all.filter((one) => selectorsMatch(new Set(record), new Set(filter), one));
    expect(matching).toEqual([...expected]);
  });
});
