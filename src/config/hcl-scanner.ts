import { ConfigError } from "./config-error.ts";
import type { Position } from "./tree.ts";

const ESCAPES: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  b: "\b",
  f: "\f",
  "/": "/",
  "\\": "\\",
  '"': '"',
};

/** Walks over the text: skips blanks and comments, takes names, strings and heredocs, and knows where it is. */
export class Scanner {
  readonly #text: string;
  readonly #file: string;
  #at = 0;
  #line = 1;
  #lineStart = 0;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
  }

  /** Where the next token stands, counted from 1. */
  position(): Position {
    this.#skip();
    return { line: this.#line, column: this.#at - this.#lineStart + 1 };
  }

  /** @param at where it is; the next token when left out */
  failure(what: string, at: Position = this.position()): ConfigError {
    const { line, column } = at;
    return new ConfigError([`${this.#file}:${line}:${column}: ${what}`]);
  }

  atEnd(): boolean {
    this.#skip();
    return this.#at >= this.#text.length;
  }

  /** The next character that counts, or undefined at the end. */
  peek(): string | undefined {
    this.#skip();
    return this.#text[this.#at];
  }

  takeIf(character: string): boolean {
    if (this.peek() !== character) return false;
    this.#at++;
    return true;
  }

  take(character: string): void {
    if (!this.takeIf(character)) {
      throw this.failure(
        this.atEnd() ? `"${character}" missing at the end` : `"${character}" expected`,
      );
    }
  }

  /** A name, quoted or not. */
  key(): string {
    return this.peek() === '"' ? this.quoted() : this.#match(/[A-Za-z_][\w.-]*/y, "a key");
  }

  word(): string {
    return this.#match(/[\w.+-]+/y, "a value");
  }

  #match(pattern: RegExp, what: string): string {
    this.#skip();
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found === undefined) throw this.failure(`${what} expected`);
    this.#at += found.length;
    return found;
  }

  quoted(): string {
    const start = this.position();
    this.take('"');
    let value = "";
    for (;;) {
      const character = this.#text[this.#at++];
      if (character === '"') return value;
      if (character === undefined || character === "\n") {
        throw this.failure("the string does not end on its line", start);
      }
      value += character === "\\" ? this.#escape() : character;
    }
  }

  #escape(): string {
    const letter = this.#text[this.#at++] ?? "";
    const plain = ESCAPES[letter];
    if (plain !== undefined) return plain;
    const digits = { u: 4, U: 8, x: 2 }[letter];
    const code = digits === undefined ? "" : this.#text.slice(this.#at, this.#at + digits);
    if (digits === undefined || !/^[0-9a-f]+$/i.test(code) || code.length !== digits) {
      throw this.failure(`unknown escape \\${letter} in a string`);
    }
    const point = Number.parseInt(code, 16);
    if (point > 0x10ffff) throw this.failure("escape beyond Unicode in a string");
    this.#at += digits;
    return String.fromCodePoint(point);
  }

  /** `<<END` up to the line END; with `<<-END` the lines lose the blanks they all begin with. */
  heredoc(): string {
    this.#skip();
    const head = /<<(-?)([A-Za-z_]\w*)[ \t\r]*\n/y;
    head.lastIndex = this.#at;
    const found = head.exec(this.#text);
    if (found === null) throw this.failure("<<NAME expected at the end of the line");
    const [opening, dash, name] = found;
    const body = this.#at + opening.length;
    const lines: string[] = [];
    let at = body;
    for (;;) {
      const end = this.#text.indexOf("\n", at);
      const line = this.#text.slice(at, end === -1 ? undefined : end);
      if (line.trim() === name) {
        this.#jump(at + line.length);
        return unindented(lines, dash === "-");
      }
      if (end === -1) throw this.failure(`the line ${name} that ends the text is missing`);
      lines.push(line);
      at = end + 1;
    }
  }

  #skip(): void {
    const blank = /(?:[ \t\r\n\uFEFF]+|#[^\n]*|\/\/[^\n]*|\/\*[\s\S]*?\*\/)+/y;
    blank.lastIndex = this.#at;
    const found = blank.exec(this.#text)?.[0];
    if (found !== undefined) this.#jump(this.#at + found.length);
  }

  /** Moves on, counting lines. */
  #jump(to: number): void {
    for (
      let end = this.#text.indexOf("\n", this.#at);
      end !== -1 && end < to;
      end = this.#text.indexOf("\n", end + 1)
    ) {
      this.#line++;
      this.#lineStart = end + 1;
    }
    this.#at = to;
  }
}

function unindented(lines: readonly string[], strip: boolean): string {
  const indents = lines
    .filter((line) => line.trim() !== "")
    .map((line) => line.length - line.trimStart().length);
  const least = strip && indents.length > 0 ? Math.min(...indents) : 0;
  return lines.map((line) => `${line.slice(least)}\n`).join("");
}
