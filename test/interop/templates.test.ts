/** Templates for paths against Go's own text/template with the functions of Sprig: the same text or a refusal, never another text. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { Template } from "#config/template/template.ts";
import { TemplateError } from "#config/template/values.ts";
import { run } from "../support/process.ts";
import { GO_CLIENT } from "../support/spire.ts";
import { nodeFields, type TemplateNode } from "../support/template-node.ts";
import vectors from "../vectors/template.json";

type Verdict = { readonly output: string } | { readonly error: string };

async function theirs(templates: readonly string[], data: TemplateNode): Promise<Verdict[]> {
  const input = JSON.stringify({ data, templates });
  const { stdout, stderr } = await run([GO_CLIENT, "templates"], { input });
  if (stderr !== "") throw new Error(stderr);
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Verdict);
}

function ours(template: string, data: TemplateNode): Verdict {
  try {
    const output = Template.parse(template, Object.keys(data)).execute(nodeFields(data));
    return { output };
  } catch (error) {
    if (error instanceof TemplateError) return { error: error.message };
    throw error;
  }
}

test("the vectors hold what Go says", async () => {
  const { node, accepted } = vectors;
  const verdicts = await theirs(
    accepted.map(({ input }) => input),
    node,
  );
  expect(verdicts).toEqual(accepted.map(({ output }) => ({ output })));
});

/** Expressions of a kind, made of fields, literals and functions that give that kind; not all of them run. */
const { text, whole, list } = fc.letrec<{ text: string; whole: string; list: string }>((tie) => {
  const call = (name: string, ...given: fc.Arbitrary<string>[]): fc.Arbitrary<string> =>
    fc.tuple(...given).map((parts) => `(${[name, ...parts].join(" ")})`);
  const calls = (names: readonly string[], ...given: fc.Arbitrary<string>[]) =>
    fc.constantFrom(...names).chain((name) => call(name, ...given));
  const word = fc.stringMatching(/^[a-zA-Z0-9._ /-]{0,6}$/).map((word) => JSON.stringify(word));
  const t = tie("text");
  const n = tie("whole");
  const l = tie("list");
  return {
    text: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      word,
      fc.constantFrom(".PluginName", ".Subject.CommonName", ".URISanSelectors.env"),
      calls(["upper", "lower", "title", "untitle", "swapcase", "trim", "nospace", "initials"], t),
      calls(["base", "dir", "clean", "ext", "b64enc", "b32enc", "adler32sum", "urlquery"], t),
      calls(["trunc", "abbrev", "wrap", "indent"], n, t),
      calls(["substr", "abbrevboth"], n, n, t),
      calls(["trimAll", "trimPrefix", "trimSuffix", "print", "cat", "quote", "default"], t, t),
      calls(["replace"], word, word, t),
      calls(["wrapWith"], n, word, t),
      calls(["join"], word, l),
      calls(["index"], l, n),
      calls(["first", "last"], l),
      calls(["printf"], fc.constantFrom('"%s-%5s"', '"%-4s|%.2s"', '"%v%q"'), t, t),
      calls(["seq"], n, n),
      calls(["or", "and", "coalesce"], t, t, t),
      calls(["ternary"], t, t, calls(["eq", "ne", "lt", "ge", "contains", "hasPrefix"], t, t)),
    ),
    whole: fc.oneof(
      { maxDepth: 3 },
      fc.integer({ min: -12, max: 40 }).map(String),
      calls(["len"], t),
      calls(["len"], l),
    ),
    list: fc.oneof(
      { maxDepth: 3 },
      fc.constantFrom(".DNSNames", ".Subject.Organization"),
      calls(["list"], t, n, t),
      calls(["splitList"], word, t),
      calls(["rest", "initial", "reverse", "uniq", "compact", "toStrings"], l),
      calls(["append", "prepend", "without"], l, t),
      calls(["slice"], l, n),
      calls(["chunk"], n, l),
      calls(["concat"], l, l),
    ),
  };
});

const template = fc.oneof(
  text.map((made) => `{{ ${made} }}`),
  list.map((made) => `{{ range $i, $x := ${made} }}{{ $i }}:{{ $x }};{{ else }}none{{ end }}`),
  fc
    .tuple(text, text)
    .map(([a, b]) => ` {{- with ${a} -}} {{ . }} {{- else -}} {{ ${b} }} {{- end }}`),
  fc
    .tuple(whole, list)
    .map(([n, l]) => `{{ if gt ${n} 3 }}{{ ${l} }}{{ else }}{{ ${n} }}{{ end }}`),
  fc
    .tuple(text, text)
    .map(([a, b]) => `{{ $v := ${a} }}{{ if $v }}{{ $v = ${b} }}{{ end }}/{{ $v | lower }}`),
);

const NODE: TemplateNode = {
  PluginName: "x509pop",
  SerialNumber: 3,
  Subject: { CommonName: "  Web-01.Example.org/x ", Organization: [] },
  DNSNames: ["b.example.org", "", "a", "b.example.org"],
  URISanSelectors: { env: "prod" },
};

/** Expressions of what both read, and texts on which they have something to do. */
const { regex } = fc.letrec<{ regex: string }>((tie) => {
  const inner = tie("regex");
  const atom = fc.constantFrom(
    ...["a", "b", "c", ".", "-", "x", "^", "$"],
    ...[
      "\\.",
      "\\d",
      "\\w",
      "\\W",
      "\\b",
      "\\B",
      "\\x61",
      "[ab]",
      "[^a]",
      "[a-c-]",
      "[]x]",
      "[\\d.]",
    ],
  );
  const repeat = fc.constantFrom("*", "+", "?", "*?", "+?", "??", "{2}", "{0,2}", "{1,}", "{2,3}?");
  return {
    regex: fc.oneof(
      { maxDepth: 4 },
      atom,
      fc.tuple(inner, inner).map(([a, b]) => a + b),
      fc.tuple(inner, inner).map(([a, b]) => `${a}|${b}`),
      inner.map((one) => `(${one})`),
      fc.tuple(inner, repeat).map(([one, times]) => `(?:${one})${times}`),
      fc.tuple(inner, repeat).map(([one, times]) => `(${one})${times}`),
      fc.tuple(atom, repeat).map(([one, times]) => one + times),
    ),
  };
});

const regexTemplate = fc
  .tuple(
    regex.map((one) => JSON.stringify(one)),
    fc.stringMatching(/^[abcx1.-]{0,8}$/).map((one) => JSON.stringify(one)),
    fc.integer({ min: -1, max: 3 }),
    fc.constantFrom('"<$0>"', '"[$1]"', '"$2-$$$1"', '"$1x"'),
  )
  .chain(([pattern, subject, count, replacement]) =>
    fc.constantFrom(
      `{{ regexMatch ${pattern} ${subject} }}{{ regexFind ${pattern} ${subject} | quote }}`,
      `{{ range regexFindAll ${pattern} ${subject} ${count} }}<{{ . }}>{{ end }}`,
      `{{ regexReplaceAll ${pattern} ${subject} ${replacement} | quote }}`,
      `{{ regexReplaceAllLiteral ${pattern} ${subject} ${replacement} | quote }}`,
      `{{ range regexSplit ${pattern} ${subject} ${count} }}<{{ . }}>{{ end }}`,
    ),
  );

test.each([
  ["templates", template],
  ["regular expressions", regexTemplate],
])(
  "%s at random are never taken to mean something else",
  async (_what, arbitrary) => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const templates = fc.sample(arbitrary, { numRuns: 2000, seed });
    const verdicts = await theirs(templates, NODE);
    const different = templates.flatMap((one, at) => {
      const mine = ours(one, NODE);
      const go = verdicts[at];
      return "output" in mine && JSON.stringify(mine) !== JSON.stringify(go)
        ? [{ one, mine, go }]
        : [];
    });
    expect({ seed, different }).toEqual({ seed, different: [] });
    const agreed = templates.filter((one) => "output" in ours(one, NODE));
    expect(agreed.length).toBeGreaterThan(templates.length / 4);
  },
  60_000,
);
