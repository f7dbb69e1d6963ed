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
    case "number":
      return Number(value.text);
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
  ["labels without quotation marks", "K disk { a = 1 }", [["K", [["disk", [["a", 1]]]]]]],
  [
    "an indented heredoc as the mark at its end is indented",
    "a = <<-END\n    x\n   y\n  END",
    [["a", "  x\n y\n"]],
  ],
  [
    "an indented heredoc with a line that is less indented",
    "a = <<-END\n    x\n y\n  END",
    [["a", "    x\n y\n"]],
  ],
  [
    "lines of Windows",
    "a = <<END\r\nx\r\nEND\r\nb = 1\r\n",
    [
      ["a", "x\n"],
      ["b", 1],
    ],
  ],
  ["a string's marks inside of an interpolation", `a = "$\{f("x")}"`, [["a", `$\{f("x")}`]]],
  ["interpolation as plain text", `a = "$\{x}"`, [["a", `$\{x}`]]],
  ["JSON", '{"a": {"b": [1, "x", null, false]}}', [["a", [["b", [1, "x", null, false]]]]]],
])("reads %s", (_name, text, expected) => expect(read(text)).toEqual(expected));

test.each([
  ["a = ", "f:1:5:"],
  ["a = 1\nb {\n c = 2\n", 'f:4:1: "}" missing'],
  ['\n\na = "x', "f:3:5: the string does not end"],
  ["a b = 1", "f:1:5:"],
  ["a = [1 2]", "f:1:8:"],
  ["a = <<END\nx\n", "f:1:5: the line END that ends the text is missing"],
  ["a = 1\n/* b", "f:2:1: the comment does not end"],
  ['a = "$' + '{x\n}"\nb = %', "f:3:5:"],
  ['a = "\\xff"', "is not a character"],
  ["a : 1", "f:1:3:"],
  ["a = null", "f:1:5:"],
  ['{"a" = 1}', "f:1:6:"],
  ['{"a": 1} b', "f:1:10: nothing may follow"],
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

function blockOf(text: string): { readonly block: Block; readonly problems: Problems } {
  const problems = new Problems("f");
  return { block: new Block([parseHcl(text, "f")], "the file", problems), problems };
}

test("keys are found in any case, labels are not", () => {
  const { block, problems } = blockOf('Trust_Domain = "a"\nK "x" {}\nK "X" {}');
  expect(block.string("trust_domain")).toBe("a");
  expect(block.labelled("K").map(({ label }) => label)).toEqual(["x", "X"]);
  block.finish();
  problems.check();
});

test("a key that is given twice is told of, and the last one counts; lists go on", () => {
  const { block, problems } = blockOf('a = "1"\na = "2"\nb = ["1"]\nb = ["2"]');
  expect(block.string("a")).toBe("2");
  expect(block.strings("b")).toEqual(["1", "2"]);
  block.finish();
  expect(problems.notes).toEqual(["f:2: a is given 2 times; the last one counts"]);
});

test.each([
  ["8081", 8081],
  ['"8081"', 8081],
  ["0x1F", 31],
  ["017", 15],
  ['"0o17"', 15],
  ['"0b11"', 3],
  ['"1_000"', 1000],
  ["-4", -4],
  ['""', undefined],
  ['" 1"', undefined],
  ["1.5", undefined],
  ['"1e3"', undefined],
  ["08", undefined],
  ["9007199254740993", undefined],
  ["true", undefined],
])("%s as a whole number is %p", (text, expected) => {
  expect(blockOf(`a = ${text}`).block.number("a")).toBe(expected);
});

test("a number is the text it was written as for whoever wants a text", () => {
  expect(blockOf("a = 007").block.string("a")).toBe("007");
});

test.each([
  ["false", false],
  ['""', false],
  ["[]", false],
  ["0", false],
  ["0x0", false],
  ["true", true],
  ['"false"', true],
  ["{}", true],
  ["[0]", true],
  ["-1", true],
])("%s asks for something: %p", (text, expected) => {
  expect(blockOf(`a = ${text}`).block.asksFor("a")).toBe(expected);
});
