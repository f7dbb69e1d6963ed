import { expect, test } from "bun:test";
import { printable } from "./printable.ts";

test.each([
  ["/usr/bin/grün 漢字", "/usr/bin/grün 漢字"],
  ["a\nb\x1b[31m", "a\\nb\\u001b[31m"],
  // C1: some terminals take it for the escape and the bracket.
  ["\x9b31m\x7f", "\\u009b31m\\u007f"],
  ["\u202egnp.exe\u2028", "\\u202egnp.exe\\u2028"],
])("%j is printed as %j", (text, shown) => {
  expect(printable(text)).toBe(shown);
});
