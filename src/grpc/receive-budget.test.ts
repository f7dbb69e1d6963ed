import { expect, test } from "bun:test";
import { ReceiveBudget } from "./receive-budget.ts";

const FULL = "too many requests are unfinished";

test("what a source holds has a bound, also when a part of it is whole by then", () => {
  const budget = new ReceiveBudget({ source: 10, total: 1000 });
  budget.take("a", 6);
  budget.take("a", 4);
  expect(() => budget.take("a", 1)).toThrow(FULL);
  budget.take("b", 10);
  budget.give("a", 6);
  expect(() => budget.take("a", 7)).toThrow(FULL);
  budget.take("a", 6);
  budget.give("a", 10);
  budget.take("a", 10);
});

test("what all hold together has one, and what was refused does not count", () => {
  const budget = new ReceiveBudget({ source: 10, total: 15 });
  budget.take("a", 10);
  expect(() => budget.take("b", 6)).toThrow(FULL);
  budget.take("b", 5);
  expect(() => budget.take("c", 1)).toThrow(FULL);
  budget.give("a", 10);
  budget.take("c", 10);
  expect(() => budget.take("d", 1)).toThrow(FULL);
});
