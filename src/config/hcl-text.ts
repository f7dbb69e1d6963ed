/** The texts of HCL and JSON: strings in quotation marks, and heredocs. */
import type { Scanner } from "./hcl-scanner.ts";

const ESCAPES: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  // JSON's alone, and as good here.
  "/": "/",
  "\\": "\\",
  '"': '"',
};

const PLAIN = /[^"\\\n$]+/y;
const ANY = /[\s\S]/y;
const QUOTE = /"/y;
const INTERPOLATION = /\$\{/y;
const NUMBERED = /x[\dA-Fa-f]{2}|u[\dA-Fa-f]{4}|U[\dA-Fa-f]{8}|[0-7]{3}/y;

/** A string. In HCL, what is between `${` and `}` stays as it is written, marks and all. */
export function readQuoted(scanner: Scanner, isJson: boolean): string {
  const start = scanner.position();
  scanner.take('"');
  let value = "";
  while (scanner.matchHere(QUOTE) === undefined) {
    const plain = scanner.matchHere(PLAIN);
    if (plain !== undefined) value += plain;
    else if (!isJson && scanner.matchHere(INTERPOLATION) !== undefined) {
      value += interpolation(scanner);
    } else {
      const character = scanner.matchHere(ANY);
      if (character === undefined || character === "\n") {
        throw scanner.failure("the string does not end on its line", start);
      }
      value += character === "\\" ? escaped(scanner) : character;
    }
  }
  return value;
}

function interpolation(scanner: Scanner): string {
  const start = scanner.here();
  let text = "${";
  for (let depth = 1; depth > 0; ) {
    const character = scanner.matchHere(ANY);
    if (character === undefined)
      throw scanner.failure("the interpolation has no closing brace", start);
    if (character === "{") depth++;
    else if (character === "}") depth--;
    text += character;
  }
  return text;
}

function escaped(scanner: Scanner): string {
  const numbered = scanner.matchHere(NUMBERED);
  if (numbered !== undefined) return characterOf(scanner, numbered);
  const letter = scanner.matchHere(ANY) ?? "";
  const plain = ESCAPES[letter];
  if (plain === undefined) throw scanner.failureHere(`unknown escape \\${letter} in a string`);
  return plain;
}

/** HCL counts bytes by `\x` and three octal digits, which is the same up to 7F; further on they would be half characters. */
function characterOf(scanner: Scanner, numbered: string): string {
  const isOctal = /^\d/.test(numbered);
  const code = isOctal ? Number.parseInt(numbered, 8) : Number.parseInt(numbered.slice(1), 16);
  const isByte = isOctal || numbered.startsWith("x");
  if (code > (isByte ? 0x7f : 0x10ffff)) {
    throw scanner.failureHere(`\\${numbered} is not a character; write it as \\uXXXX`);
  }
  return String.fromCodePoint(code);
}

const HEREDOC = /<<-?[\p{L}\p{Nd}_]+\n/uy;
const LINE = /[^\n]*(?:\n|$)/y;

/**
 * `<<END` up to the line END; with `<<-END` the lines lose the blanks that the line END begins with, if all of them have those.
 */
export function readHeredoc(scanner: Scanner): string {
  const start = scanner.position();
  const opening = scanner.matchHere(HEREDOC);
  if (opening === undefined) throw scanner.failure("<<NAME expected at the end of the line");
  const isIndented = opening[2] === "-";
  const name = opening.slice(isIndented ? 3 : 2, -1);
  const end = new RegExp(`([ \\t\\f\\v]*)${name}(?=\\n|$)`, "y");
  const lines: string[] = [];
  for (;;) {
    const blanks = scanner.matchHere(end)?.slice(0, -name.length);
    if (blanks !== undefined) {
      return isIndented ? unindented(lines, blanks) : lines.join("") + blanks;
    }
    const line = scanner.matchHere(LINE) ?? "";
    if (line === "") throw scanner.failure(`the line ${name} that ends the text is missing`, start);
    lines.push(line);
  }
}

function unindented(lines: readonly string[], blanks: string): string {
  return lines.every((line) => line.startsWith(blanks))
    ? lines.map((line) => line.slice(blanks.length)).join("")
    : lines.join("");
}
