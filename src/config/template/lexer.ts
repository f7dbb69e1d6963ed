/** Go's template syntax, first step: text and actions, and the words in an action. */
import { TemplateError } from "./values.ts";

export type TokenKind = "field" | "dot" | "variable" | "string" | "number" | "word" | "sign";

export interface Token {
  readonly kind: TokenKind;
  /** A string without its quotes, a field without its dot; everything else as it was written. */
  readonly text: string;
  /** Counted from 1. */
  readonly at: number;
  /** Whether blanks or the start of the action precede it: `$x.Name` is one operand, `$x .Name` are two. */
  readonly apart: boolean;
}

export type Piece =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "action"; readonly tokens: readonly Token[]; readonly at: number };

const BLANKS = " \\t\\r\\n";
const OPEN = new RegExp(`\\{\\{(-[${BLANKS}])?`, "y");
const CLOSE = new RegExp(`[${BLANKS}]*(?:[${BLANKS}](-))?\\}\\}`, "y");
const COMMENT = new RegExp(`[${BLANKS}]*/\\*[^]*?\\*/`, "y");
const TOKEN = new RegExp(
  [
    `([${BLANKS}]*)(?:`,
    String.raw`\.(?<field>[A-Za-z_]\w*)`,
    String.raw`|(?<dot>\.)`,
    String.raw`|(?<variable>\$\w*)`,
    String.raw`|(?<string>"(?:[^"\\\n]|\\.)*")`,
    "|(?<raw>`[^`]*`)",
    String.raw`|(?<number>[+-]?\d[\w.]*)`,
    String.raw`|(?<word>[A-Za-z_]\w*)`,
    "|(?<sign>:=|[()|=,])",
    ")",
  ].join(""),
  "y",
);

/** @throws TemplateError */
export function lex(template: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  let trimStart = false;
  while (at < template.length) {
    const open = template.indexOf("{{", at);
    const end = open === -1 ? template.length : open;
    const [opened = "", trimEnd] = open === -1 ? [] : (matchAt(OPEN, template, open) ?? []);
    const text = trimmed(template.slice(at, end), trimStart, trimEnd !== undefined);
    if (text !== "") pieces.push({ kind: "text", text });
    if (open === -1) break;
    const action = lexAction(template, open, open + opened.length);
    if (action.tokens !== undefined) {
      pieces.push({ kind: "action", tokens: action.tokens, at: open + 1 });
    }
    at = action.end;
    trimStart = action.trimNext;
  }
  return pieces;
}

function trimmed(text: string, start: boolean, end: boolean): string {
  const from = start ? text.replace(/^[ \t\r\n]+/, "") : text;
  return end ? from.replace(/[ \t\r\n]+$/, "") : from;
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

interface Action {
  /** Undefined for a comment. */
  readonly tokens?: readonly Token[];
  readonly end: number;
  readonly trimNext: boolean;
}

function lexAction(template: string, open: number, start: number): Action {
  const comment = matchAt(COMMENT, template, start);
  let at = start + (comment?.[0].length ?? 0);
  const tokens: Token[] = [];
  for (;;) {
    const close = matchAt(CLOSE, template, at);
    if (close !== null) {
      const end = at + close[0].length;
      const trimNext = close[1] !== undefined;
      return comment === null ? { tokens, end, trimNext } : { end, trimNext };
    }
    if (comment !== null) throw new TemplateError(`comment at character ${open + 1} is not closed`);
    const token = nextToken(template, at, open, tokens.length === 0);
    tokens.push(token.token);
    at = token.end;
  }
}

function nextToken(
  template: string,
  from: number,
  open: number,
  first: boolean,
): { readonly token: Token; readonly end: number } {
  const match = matchAt(TOKEN, template, from);
  if (match === null) {
    const rest = template.slice(from).trimStart();
    if (rest === "") throw new TemplateError(`action at character ${open + 1} is not closed`);
    const shown = JSON.stringify(rest.slice(0, 1));
    const at = template.length - rest.length + 1;
    throw new TemplateError(`unexpected ${shown} at character ${at}`);
  }
  const [whole, blanks = ""] = match;
  const [name, text] = Object.entries(match.groups ?? {}).find(
    ([, value]) => value !== undefined,
  ) ?? ["sign", ""];
  const at = from + blanks.length + 1;
  const place = { at, apart: first || blanks !== "" };
  const end = from + whole.length;
  if (name === "string")
    return { token: { kind: "string", text: unquote(text, at), ...place }, end };
  if (name === "raw") return { token: { kind: "string", text: text.slice(1, -1), ...place }, end };
  return { token: { kind: name as TokenKind, text, ...place }, end };
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: "\u0007",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
  '"': '"',
};

/** Go's string escapes; those by number only where they name a character of their own. */
function unquote(quoted: string, at: number): string {
  return quoted
    .slice(1, -1)
    .replace(/\\(?:x([0-7][0-9a-fA-F])|u([0-9a-fA-F]{4})|(.))/g, (_all, hex, unicode, letter) => {
      const code = hex ?? unicode;
      if (code !== undefined) return String.fromCharCode(Number.parseInt(code, 16));
      const character = ESCAPES[letter];
      if (character !== undefined) return character;
      throw new TemplateError(`unknown escape \\${letter} in the string at character ${at}`);
    });
}
