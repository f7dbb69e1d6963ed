import { describe, expect, test } from "bun:test";
import { ConfigError } from "./config-error.ts";
import type { Value } from "./tree.ts";
import { parseYaml } from "./yaml.ts";

/** The plain value, without positions. */
function plain(value: Value): unknown {
  switch (value.kind) {
    case "object":
      return Object.fromEntries(value.entries.map((entry) => [entry.key, plain(entry.value)]));
    case "list":
      return value.items.map(plain);
    case "number":
      return Number(value.text);
    case "null":
      return null;
    default:
      return value.value;
  }
}

describe("YAML", () => {
  test("is read as HCL is, with the line and column of each value", () => {
    const tree = parseYaml('# c\nentries:\n- a: 1\n  "b": [x, true, ~, "2", 0o17]\n', "f");
    expect(plain(tree)).toEqual({ entries: [{ a: 1, b: ["x", true, null, "2", 15] }] });
    const [list] = tree.entries.map(({ value }) => value);
    if (list?.kind !== "list") throw new Error("no list");
    expect(list.items[0]?.at).toEqual({ line: 3, column: 3 });
  });

  test("yes, no and a time of day are texts: the core schema has no surprises", () => {
    expect(plain(parseYaml("a: yes\nb: no\nc: 12:30\nd: 010\n", "f"))).toEqual({
      a: "yes",
      b: "no",
      c: "12:30",
      d: 10,
    });
  });

  test.each([
    ["", "nothing"],
    ["# only a comment\n", "a comment"],
    ["---\n", "a document without content"],
  ])("%j is empty", (text) => {
    expect(parseYaml(text, "f").entries).toEqual([]);
  });

  test.each([
    ["a: &x 1\n", "f:1:7: anchors and aliases are not taken"],
    ["a: *x\n", "f:1:4: anchors and aliases are not taken"],
    ["a: &a [1]\nb: [*a, *a, *a]\n", "anchors and aliases are not taken"],
    ["a: !!str 1\n", "the tag tag:yaml.org,2002:str is not taken"],
    ["a: !thing 1\n", "f:1:4: "],
    ["a: 1\n---\nb: 2\n", "multiple documents"],
    ["a: 1\na: 2\n", "f:2:1: Map keys must be unique"],
    ["a: 1\n b: 2\n", "f:1:4: "],
    ["a: 1\n\tb: 2\n", "f:2:"],
    ["- a\n", "f:1:1: must be a mapping"],
    ["1: a\n", "f:1:1: a key must be a text"],
    ["a: [1, 2\n", "f:2:1: "],
    [`a: ${"[".repeat(70)}${"]".repeat(70)}\n`, "nested deeper than 64 levels"],
    [`a: ${"[".repeat(100_000)}\n`, "f"],
    [" ".repeat(4 * 1024 * 1024 + 1), "longer than 4194304 characters"],
  ])("a document is refused that is no plain one (%#)", (text, problem) => {
    const read = (): unknown => parseYaml(text, "f");
    expect(read).toThrow(ConfigError);
    expect(read).toThrow(problem);
    expect(read).not.toThrow("\n");
  });
});
