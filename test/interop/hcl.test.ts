/** Our reader of HCL against the reference's parser, hashicorp/hcl 1: what it takes, we take, and read the same. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { ConfigError } from "#config/config-error.ts";
import { expandEnv } from "#config/expand-env.ts";
import { parseHcl } from "#config/hcl.ts";
import type { Value } from "#config/tree.ts";
import { run } from "../support/process.ts";
import { GO_CLIENT } from "../support/spire.ts";

/** A tree in one form for both: blocks of one name are one, as whoever asks for keys sees them. */
type Plain = string | boolean | { readonly number: string } | readonly Plain[] | PlainObject;
interface PlainObject {
  readonly [key: string]: { readonly block?: Plain; readonly values: readonly Plain[] };
}

type Pair = readonly [key: string, value: Node];
type Node =
  | { readonly pairs: readonly Pair[] }
  | { readonly items: readonly Node[] }
  | { readonly plain: Plain };

function plainOf(node: Node): Plain {
  if ("plain" in node) return node.plain;
  if ("items" in node) return node.items.map(plainOf);
  const blocks = new Map<string, Pair[]>();
  const values = new Map<string, Plain[]>();
  for (const [key, value] of node.pairs) {
    const inner = pairsOf(value);
    if (inner === undefined) values.set(key, [...(values.get(key) ?? []), plainOf(value)]);
    else blocks.set(key, [...(blocks.get(key) ?? []), ...inner]);
  }
  const keys = [...new Set(node.pairs.map(([key]) => key))];
  return Object.fromEntries(
    keys.map((key) => {
      const pairs = blocks.get(key);
      const block = pairs === undefined ? {} : { block: plainOf({ pairs }) };
      return [key, { ...block, values: values.get(key) ?? [] }];
    }),
  );
}

function pairsOf(node: Node): readonly Pair[] | undefined {
  if ("pairs" in node) return node.pairs;
  if (!("items" in node) || node.items.length === 0) return undefined;
  const inner = node.items.map((item) => ("pairs" in item ? item.pairs : undefined));
  return inner.every((pairs) => pairs !== undefined) ? inner.flat() : undefined;
}

function nodeOfOurs(value: Value): Node {
  switch (value.kind) {
    case "object":
      return { pairs: value.entries.map((entry) => [entry.key, nodeOfOurs(entry.value)]) };
    case "list":
      return { items: value.items.map(nodeOfOurs) };
    case "number":
      return { plain: { number: value.text } };
    case "null":
      // The reference reads it as an empty text; here it is as if the key were absent.
      return { plain: "" };
    default:
      return { plain: value.value };
  }
}

type Theirs =
  | boolean
  | { readonly text: string }
  | { readonly number: string }
  | { readonly items: readonly Theirs[] }
  | { readonly entries: readonly (readonly [keys: readonly string[], value: Theirs])[] };

function nodeOfTheirs(value: Theirs): Node {
  if (typeof value === "boolean") return { plain: value };
  if ("text" in value) return { plain: value.text };
  if ("number" in value) return { plain: value };
  if ("items" in value) return { items: value.items.map(nodeOfTheirs) };
  return {
    pairs: value.entries.map(([[first = "", ...labels], inner]) => [
      first,
      labels.reduceRight<Node>((node, label) => ({ pairs: [[label, node]] }), nodeOfTheirs(inner)),
    ]),
  };
}

type Verdict = { readonly tree: Plain } | { readonly error: string };

async function theirs(texts: readonly string[]): Promise<readonly Verdict[]> {
  const { stdout, stderr } = await run([GO_CLIENT, "hcl"], { input: JSON.stringify(texts) });
  if (stderr !== "") throw new Error(stderr);
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => {
      const verdict = JSON.parse(line) as { readonly tree?: Theirs; readonly error?: string };
      return verdict.tree === undefined
        ? { error: verdict.error ?? "" }
        : { tree: plainOf(nodeOfTheirs(verdict.tree)) };
    });
}

function ours(text: string): Verdict {
  try {
    return { tree: plainOf(nodeOfOurs(parseHcl(text, "f"))) };
  } catch (error) {
    if (error instanceof ConfigError) return { error: error.message };
    throw error;
  }
}

const BATCH = 200;
const BATCHES = 5;

const blank = fc.constantFrom(" ", "\n", "\t", "\n\n", " # c\n", "// c\n", "/* c\n */", "\r\n");
const gap = fc.oneof(fc.constant(""), blank);
const name = fc.constantFrom("a", "b_c", "d-e", "f.g", "_h", "é", "plugin_data", "B9");
const character = fc.oneof(
  fc.constantFrom("x", " ", "é", "😀", "{", "}", "$", "#", "/", "'", "$" + "{y}", "$" + '{"z"}'),
  fc.constantFrom(
    '\\"',
    "\\\\",
    "\\n",
    "\\t",
    "\\a",
    "\\v",
    "\\x41",
    "\\u00e9",
    "\\U0001F600",
    "\\101",
  ),
);
const quoted = fc.array(character, { maxLength: 6 }).map((parts) => `"${parts.join("")}"`);
const number = fc.constantFrom(
  "0",
  "8081",
  "-4",
  "0x1F",
  "017",
  "1.5",
  "-0.5",
  "1e3",
  "1.5e-3",
  ".5",
);
const heredoc = fc
  .tuple(
    // The reference does not see the end of a text by <<- where it is not indented.
    fc.constantFrom(["", ""], ["", "  "], ["-", "  "], ["-", "\t"], ["-", " "]),
    fc.constantFrom("EOF", "E1", "é"),
    fc.array(fc.constantFrom("x", "  y", "\tz", "", "   ", "EOFx", "# no", '"'), { maxLength: 4 }),
  )
  .map(([[dash, indent], end, lines]) => {
    const text = lines.map((line) => `${line}\n`).join("");
    return `<<${dash}${end}\n${text}${indent}${end}\n`;
  });

const { body } = fc.letrec<{ body: string; value: string; object: string; entry: string }>(
  (tie) => ({
    object: fc.tuple(gap, tie("body"), gap).map(([a, inner, b]) => `{${a}${inner}${b}}`),
    value: fc.oneof(
      { maxDepth: 4 },
      fc.oneof(quoted, number, heredoc, fc.constantFrom("true", "false")),
      tie("object"),
      fc
        .tuple(fc.array(fc.tuple(gap, tie("value"), gap), { maxLength: 3 }), gap, fc.boolean())
        .map(([items, end, comma]) => {
          const all = items.map(([a, item, b]) => `${a}${item}${b}`).join(",");
          return `[${all}${comma && items.length > 0 ? "," : ""}${end}]`;
        }),
    ),
    entry: fc.oneof(
      fc.tuple(name, gap, gap, tie("value")).map(([key, a, b, value]) => `${key}${a}=${b}${value}`),
      fc
        .tuple(name, fc.array(fc.oneof(quoted, name), { maxLength: 2 }), tie("object"))
        .map(([key, labels, object]) => `${[key, ...labels].join(" ")} ${object}`),
    ),
    body: fc
      .array(fc.tuple(tie("entry"), fc.constantFrom("\n", ",\n", " # c\n", "\n\n")), {
        maxLength: 4,
      })
      .map((entries) => entries.flat().join("")),
  }),
);

/** @param mustTake whether we take all that the reference takes, nonsense too */
async function compare(
  texts: readonly string[],
  mustTake: boolean,
  counts: { taken: number },
): Promise<void> {
  const verdicts = await theirs(texts);
  for (const [index, text] of texts.entries()) {
    const [their, our] = [verdicts[index], ours(text)];
    if (their === undefined) throw new Error("an answer is missing");
    if ("error" in their || ("error" in our && !mustTake)) continue;
    expect({ text, verdict: our }).toEqual({ text, verdict: their });
  }
  counts.taken += verdicts.filter((verdict) => "tree" in verdict).length;
}

/** Texts in batches, as each costs a process. */
async function compareMany(text: fc.Arbitrary<string>, mustTake: boolean): Promise<number> {
  const counts = { taken: 0 };
  const batch = fc.array(text, { minLength: BATCH, maxLength: BATCH });
  await fc.assert(
    fc.asyncProperty(batch, (texts) => compare(texts, mustTake, counts)),
    { numRuns: BATCHES },
  );
  return counts.taken;
}

test("documents of every form are taken and read alike", async () => {
  expect(await compareMany(body, true)).toBeGreaterThan(0.8 * BATCH * BATCHES);
}, 120_000);

test("of damaged documents, what both take is read alike", async () => {
  const change = fc.tuple(
    fc.nat(),
    fc.nat(3),
    fc.constantFrom(..."{}[],=\"\n a1-.#/*\\$é+':", "<<E\n"),
  );
  const damaged = fc
    .tuple(body, fc.array(change, { minLength: 1, maxLength: 3 }))
    .map(([text, changes]) => {
      const characters = [...text];
      for (const [at, count, more] of changes) {
        characters.splice(at % (characters.length + 1), count, more);
      }
      return characters.join("");
    });
  expect(await compareMany(damaged, false)).toBeGreaterThan(0);
}, 120_000);

test("JSON is taken and read alike", async () => {
  const { json } = fc.letrec<{ json: unknown }>((tie) => ({
    json: fc.oneof(
      { maxDepth: 4 },
      fc.oneof(fc.stringMatching(/^[ -~é]*$/), fc.integer(), fc.boolean(), fc.constant(null)),
      fc.array(fc.oneof(fc.string(), fc.integer()), { maxLength: 3 }),
      fc.array(fc.dictionary(name, tie("json"), { maxKeys: 3 }), { maxLength: 3 }),
      fc.dictionary(name, tie("json"), { maxKeys: 3 }),
    ),
  }));
  const document = fc
    .tuple(fc.dictionary(name, json, { maxKeys: 4 }), fc.constantFrom(0, 2))
    .map(([tree, indent]) => JSON.stringify(tree, undefined, indent));
  expect(await compareMany(document, true)).toBeGreaterThan(0.8 * BATCH * BATCHES);
}, 120_000);

test("variables are expanded as Go does it", async () => {
  const env = { A: "1", _B2: "two", "7": "seven", "*": "star" };
  const piece = fc.constantFrom(
    "$",
    "{",
    "}",
    "A",
    "_B2",
    "7",
    "*",
    "?",
    "x",
    " ",
    "\n",
    "é",
    "$" + "{A}",
  );
  const texts = fc.sample(
    fc.array(piece, { maxLength: 8 }).map((parts) => parts.join("")),
    2000,
  );
  const input = JSON.stringify({ env, texts });
  const { stdout, stderr } = await run([GO_CLIENT, "expand"], { input });
  expect(stderr).toBe("");
  const expanded = JSON.parse(stdout) as string[];
  expect(texts.map((text) => expandEnv(text, env))).toEqual(expanded);
});
