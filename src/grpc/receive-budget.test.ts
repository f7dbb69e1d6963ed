import { expect, test } from "bun:test";
import { ReceiveBudget } from "./receive-budget.ts";

test("unfinished requests have a bound for each source and one for all, until each is whole", () => {
  const budget = new ReceiveBudget({ source: 10, total: 15 });
  const full = "too many requests are unfinished";
  budget.take("a", 6);
  budget.take("a", 4);
  expect(() => budget.take("a", 1)).toThrow(full);
  // What was refused does not count.
  budget.take("b", 5);
  expect(() => budget.take("c", 1)).toThrow(full);
  budget.give("a", 6);
  expect(() => budget.take("a", 7)).toThrow(full);
  budget.take("a", 6);
  budget.give("a", 10);
  budget.give("b", 5);
  budget.take("c", 10);
  budget.take("d", 5);
  expect(() => budget.take("e", 1)).toThrow(full);
});
