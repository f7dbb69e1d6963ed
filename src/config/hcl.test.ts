import { expect, test } from "bun:test";
import fc from "fast-check";
import { Block, Problems } from "./block.ts";
import { ConfigError } from "./config-error.ts";
import { parseHcl } from "./hcl.ts";
import type { Value } from "./tree.ts";

function plain(value: Value): unknown {
  switch (value.kind) {
    case "object":
      return value.entries.map(({ key, value: inner }) => [key, plain(inner)]);
    case "list":
      return value.items.map(plain);
    case "null":
      return null;
    default:
      return value.value;
  }
}
const read = (text: string): unknown => plain(parseHcl(text, "f"));

test.each([
  [
    "assignments",
    'a = "x"\nb = 3\nc = true',
    [
      ["a", "x"],
      ["b", 3],
      ["c", true],
    ],
  ],
  [
    "blocks with and without equals sign",
    "a { b = 1 }\nc = { d = 2 }",
    [
      ["a", [["b", 1]]],
      ["c", [["d", 2]]],
    ],
  ],
  ["labels as nested objects", 'K "disk" { a = 1 }', [["K", [["disk", [["a", 1]]]]]]],
  ["lists over lines, with a last comma", 'a = [\n "x",\n "y",\n]', [["a", ["x", "y"]]]],
  ["three kinds of comments", "# one\n// two\n/* three\n */ a = 1 # four", [["a", 1]]],
  ["escapes", String.raw`a = "q\" b\\ n\n u\u00e9"`, [["a", 'q" b\\ n\n u\u00e9']]],
  [
    "a heredoc",
    "a = <<END\n  x\n y\nEND\nb = 1",
    [
      ["a", "  x\n y\n"],
      ["b", 1],
    ],
  ],
  ["an indented heredoc", "a = <<-END\n    x\n      y\n    END", [["a", "x\n  y\n"]]],
  [
    "numbers",
    "a = -4\nb = 0x1F\nc = 1.5",
    [
      ["a", -4],
      ["b", 31],
      ["c", 1.5],
    ],
  ],
  ["interpolation as plain text", `a = "$\{x}"`, [["a", `$\{x}`]]],
  ["JSON", '{"a": {"b": [1, "x", null, false]}}', [["a", [["b", [1, "x", null, false]]]]]],
])("reads %s", (_name, text, expected) => expect(read(text)).toEqual(expected));

test.each([
  ["a = ", "f:1:5:"],
  ["a = 1\nb {\n c = 2\n", 'f:4:1: "}" missing'],
  ['\n\na = "x', "f:3:5: the string does not end"],
  ["a b = 1", "f:1:3:"],
  ["a = [1 2]", "f:1:8:"],
  ["a = <<END\nx\n", "the line END that ends the text is missing"],
  ["}", "f:1:1:"],
  ['a = "\\q"', "unknown escape"],
  ["a ".repeat(1).concat("{ a ".repeat(100)), "nested deeper"],
  [`a = ${"[".repeat(100)}`, "nested deeper"],
])("refuses %j with line and column", (text, expected) => {
  expect(() => read(text)).toThrow(expected);
});

test("whatever the text, it is a tree or a ConfigError", () => {
  const token = fc.constantFrom(
    "a",
    "=",
    "{",
    "}",
    "[",
    "]",
    '"',
    "\n",
    " ",
    "<<E\n",
    "1",
    ",",
    "#",
    "/*",
    "\\",
    ":",
    "E",
  );
  fc.assert(
    fc.property(
      fc.array(fc.oneof(token, fc.string({ maxLength: 3 })), { maxLength: 60 }),
      (parts) => {
        try {
          parseHcl(parts.join(""), "f");
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
        }
      },
    ),
    { numRuns: 3000 },
  );
});

test("unknown keys are named with their line and the key that was meant", () => {
  const problems = new Problems("f");
  const block = new Block(
    [parseHcl('bind_port = 1\nbind_adress = "x"\nother = 2', "f")],
    "the server block",
    problems,
  );
  block.number("bind_port");
  block.string("bind_address");
  block.finish();
  expect(() => problems.check()).toThrow(
    'f:2: unknown configuration detected: key "bind_adress" in the server block; did you mean "bind_address"?\nf:3: unknown configuration detected: key "other" in the server block',
  );
});
