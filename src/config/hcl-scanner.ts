/** Where the reader of HCL stands in the text: it skips blanks and comments, takes names, numbers and marks, and knows line and column. */
import { ConfigError } from "./config-error.ts";
import type { Position } from "./tree.ts";

const BLANKS = /(?:[ \t\r\n\uFEFF]+|#[^\n]*|\/\/[^\n]*|\/\*[\s\S]*?\*\/)+/y;

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
    return this.here();
  }

  /** Where the next character stands, be it a blank. */
  here(): Position {
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

  /** Takes what the pattern finds at the next token. @param pattern sticky @throws ConfigError when that is nothing */
  match(pattern: RegExp, what: string): string {
    this.#skip();
    const found = this.matchHere(pattern);
    if (found === undefined) throw this.failure(`${what} expected`);
    return found;
  }

  /** Takes what the pattern finds at the next character, blank or not. */
  matchHere(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#moveTo(this.#at + found.length);
    return found;
  }

  #skip(): void {
    this.matchHere(BLANKS);
    if (this.#text.startsWith("/*", this.#at)) {
      throw this.failureHere("the comment does not end");
    }
  }

  failureHere(what: string): ConfigError {
    return this.failure(what, this.here());
  }

  /** Moves on, counting lines. */
  #moveTo(to: number): void {
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
