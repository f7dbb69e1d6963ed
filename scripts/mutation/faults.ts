/** Faults that can be planted in a source file, found in its tokens: the tree is formatted, so an operator has a space on either side. */

export interface Fault {
  readonly kind: "comparison" | "throw" | "boolean" | "condition" | "and-or";
  readonly line: number;
  /** What stands there, and what takes its place. */
  readonly from: string;
  readonly to: string;
  readonly start: number;
  readonly end: number;
}

const TURNED: Readonly<Record<string, string>> = {
  "===": "!==",
  "!==": "===",
  "<": ">=",
  ">=": "<",
  ">": "<=",
  "<=": ">",
};

/** The text with one fault in it. */
export function plant(text: string, fault: Fault): string {
  return text.slice(0, fault.start) + fault.to + text.slice(fault.end);
}

/** All faults that can be planted in a TypeScript file, one at a time. */
export function findFaults(text: string): Fault[] {
  const code = withoutText(text);
  return [
    ...comparisons(code),
    ...throws(code),
    ...booleans(code),
    ...conditions(code),
    ...andOr(code),
  ]
    .map((fault) => ({
      ...fault,
      line: code.slice(0, fault.start).split("\n").length,
      from: text.slice(fault.start, fault.end),
    }))
    .sort((a, b) => a.start - b.start);
}

type Found = Pick<Fault, "kind" | "to" | "start" | "end">;

function* comparisons(code: string): Generator<Found> {
  for (const match of code.matchAll(/(?<=\s)(===|!==|<=|>=|<|>)(?=\s)/g)) {
    const to = TURNED[match[0]];
    if (to !== undefined) yield { kind: "comparison", to, ...span(match) };
  }
}

/** What is thrown is still made, so that the rest of the line compiles. */
function* throws(code: string): Generator<Found> {
  for (const match of code.matchAll(/\bthrow(?=\s)/g))
    yield { kind: "throw", to: "void", ...span(match) };
}

function* booleans(code: string): Generator<Found> {
  // A literal type, which is erased, stands beside a bar, or between a colon and a semicolon.
  for (const match of code.matchAll(
    /(?<![^|]\| )\b(?:(?<!: )(true|false)\b|(true|false)\b(?!;))(?! \| )/g,
  ))
    yield { kind: "boolean", to: match[0] === "true" ? "false" : "true", ...span(match) };
  for (const match of code.matchAll(/(?<=[\s(!])!(?=[\w(])/g))
    yield { kind: "boolean", to: "", ...span(match) };
}

function* conditions(code: string): Generator<Found> {
  for (const match of code.matchAll(/\b(if|while) \(/g)) {
    const start = (match.index ?? 0) + match[0].length;
    const end = closing(code, start);
    if (match[1] === "if") yield { kind: "condition", to: "true", start, end };
    yield { kind: "condition", to: "false", start, end };
  }
}

function* andOr(code: string): Generator<Found> {
  for (const match of code.matchAll(/(?<=\s)(&&|\|\|)(?=\s)/g))
    yield { kind: "and-or", to: match[0] === "&&" ? "||" : "&&", ...span(match) };
}

function span(match: RegExpMatchArray): { start: number; end: number } {
  const start = match.index ?? 0;
  return { start, end: start + match[0].length };
}

/** Where the bracket that was opened just before `start` closes. */
function closing(code: string, start: number): number {
  let depth = 1;
  for (let at = start; at < code.length; at++) {
    if (code[at] === "(") depth++;
    if (code[at] === ")" && --depth === 0) return at;
  }
  return code.length;
}

const SKIPPED = /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|\/\/.*|\/\*[\s\S]*?\*\//y;
const REGEX = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;
/** From the start of a template, or from the end of an expression in it, to the next expression or the template's end. */
const WORDS = /[`}](?:[^`\\$]|\\[\s\S]|\$(?!\{))*(?:`|\$\{)/y;

/** The code alone: comments, strings, regular expressions and the words of templates are blanks of the same length. */
function withoutText(text: string): string {
  let code = "";
  /** How many braces are open within each template's expression. */
  const open: number[] = [];
  const match = (pattern: RegExp): string => {
    pattern.lastIndex = code.length;
    return pattern.exec(text)?.[0] ?? "";
  };
  while (code.length < text.length) {
    const char = text.charAt(code.length);
    const isWords = char === "`" || (char === "}" && open.at(-1) === 0);
    const skipped = match(isWords ? WORDS : SKIPPED) || (isRegexPlace(code) ? match(REGEX) : "");
    code += skipped.replaceAll(/[^\n]/g, " ") || char;
    if (isWords) followWords(open, skipped);
    else followBrace(open, skipped || char);
  }
  return code;
}

function followWords(open: number[], words: string): void {
  if (words.startsWith("}")) open.pop();
  if (words.endsWith("{")) open.push(0);
}

function followBrace(open: number[], char: string): void {
  const depth = open.pop();
  if (depth === undefined) return;
  open.push(depth + (char === "{" ? 1 : char === "}" ? -1 : 0));
}

/** Whether a slash here begins a regular expression: not after a value. */
function isRegexPlace(code: string): boolean {
  return /(?:^|[(,=:[!&|?{};>]|\breturn)\s*$/.test(code.slice(-20));
}
