import { expect, test } from "bun:test";
import { clockWords } from "./server-clock.ts";

test.each([
  [-0.4, 0.6, undefined],
  [-30, 40, undefined],
  [600, 601, "this machine's clock is 10 minutes behind the server's"],
  [-601, -600, "this machine's clock is 10 minutes ahead of the server's"],
  [7, 8, "this machine's clock is 8 seconds behind the server's"],
  [5400, 5401, "this machine's clock is 2 hours behind the server's"],
  [-400 * 86_400, -400 * 86_400, "this machine's clock is 400 days ahead of the server's"],
])("between %p and %p seconds: %s", (atLeast, atMost, words) => {
  expect(clockWords({ atLeast, atMost })).toBe(words);
});
