import { expect, test } from "bun:test";
import { shortDuration, tableText } from "./table.ts";

test("columns are as wide as they must be; nothing in them speaks to the terminal", () => {
  expect(
    tableText(
      ["A", "BC"],
      [
        ["long", ""],
        ["", "\u001b[2J"],
      ],
    ),
  ).toBe("A     BC\nlong  -\n-     \\u001b[2J\n");
});

test.each([
  [0, "0s"],
  [59.9, "59s"],
  [60, "1m"],
  [3599, "59m"],
  [7200, "2h"],
  [86400 * 3 + 5, "3d"],
])("%d s is %s", (seconds, text) => {
  expect(shortDuration(seconds)).toBe(text);
});
