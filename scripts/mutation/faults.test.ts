import { expect, test } from "bun:test";
import { findFaults, plant } from "./faults.ts";

/** The file with each of its faults. */
const planted = (text: string): string[] => findFaults(text).map((fault) => plant(text, fault));

test.each([
  ["a comparison", "x = a < b;", ["x = a >= b;"]],
  ["equality", "x = a === b;", ["x = a !== b;"]],
  ["a throw", "throw new Error(`no`, a);", ["void new Error(`no`, a);"]],
  ["a boolean", "return true;", ["return false;"]],
  ["a boolean in an object", "x = { a: true, b };", ["x = { a: false, b };"]],
  ["a negation", "x = !isIt(a);", ["x = isIt(a);"]],
  ["a condition", "if (is(a, (b))) go();", ["if (true) go();", "if (false) go();"]],
  ["a loop", "while (a.more()) go();", ["while (false) go();"]],
  ["and", "x = a && b;", ["x = a || b;"]],
  [
    "or, within a template",
    `x = \`\${a || \`\${{ b }}\`} || c\`;`,
    [`x = \`\${a && \`\${{ b }}\`} || c\`;`],
  ],
])("%s is planted", (_, text, all) => {
  expect(planted(text)).toEqual(all);
});

test.each([
  '// if (a) throw b\nx = "if (a) throw b && true";',
  "/* a < b */ x = /(a || b) [/] && true/u;",
  "const a = new Map<string, Promise<number>>(), f = (b: A) => c;",
  "type A = B & C;",
  "x = a >> b;",
  "interface A { readonly a: true; b: false | string; c: string | false }",
])("nothing is planted in %p", (text) => {
  expect(planted(text)).toEqual([]);
});

test("a fault says where it is", () => {
  expect(findFaults("a;\nb = c > d;\n")).toEqual([
    { kind: "comparison", line: 2, from: ">", to: "<=", start: 9, end: 10 },
  ]);
});
