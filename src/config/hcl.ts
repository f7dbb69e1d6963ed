/**
 * Reads HCL version 1, and JSON with the same parser: `key = value`, `key { … }`, `key "label" { … }`, comments, heredocs. A label becomes
 * a nested object, so `KeyManager "disk" { … }` reads like `KeyManager = { disk = { … } }`. There is no kept library for this version.
 */
import { ConfigError } from "./config-error.ts";
import { Scanner } from "./hcl-scanner.ts";
import { readHeredoc, readQuoted } from "./hcl-text.ts";
import type { Entry, ObjectValue, Position, Value } from "./tree.ts";

const MAX_CHARACTERS = 4 * 1024 * 1024;
const MAX_DEPTH = 64;

/**
 * @param file the name for messages
 * @throws ConfigError with file, line and column
 */
export function parseHcl(text: string, file: string): ObjectValue {
  if (text.length > MAX_CHARACTERS) {
    throw new ConfigError([`${file}: longer than ${MAX_CHARACTERS} characters`]);
  }
  const scanner = new Scanner(text.replaceAll("\r\n", "\n"), file);
  return new Parser(scanner).file();
}

const KEY = /[\p{L}_][\p{L}\p{Nd}_.-]*/uy;
const WORD = /[\p{L}\p{Nd}_.+-]+/uy;
const NUMBER = /^-?(?:0[xX][\dA-Fa-f]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)$/;

class Parser {
  readonly #scanner: Scanner;
  /** JSON has its own mark between key and value, and nothing where there is no value. */
  #isJson = false;

  constructor(scanner: Scanner) {
    this.#scanner = scanner;
  }

  file(): ObjectValue {
    const at = this.#scanner.position();
    this.#isJson = this.#scanner.peek() === "{";
    if (!this.#isJson) return { kind: "object", entries: this.#entries(undefined, 0), at };
    const whole = this.#object(0);
    if (!this.#scanner.atEnd()) {
      throw this.#scanner.failure("nothing may follow the closing brace");
    }
    return whole;
  }

  #object(depth: number): ObjectValue {
    const at = this.#scanner.position();
    this.#scanner.take("{");
    const entries = this.#entries("}", depth);
    this.#scanner.take("}");
    return { kind: "object", entries, at };
  }

  #entries(until: "}" | undefined, depth: number): Entry[] {
    if (depth > MAX_DEPTH) throw this.#tooDeep();
    const entries: Entry[] = [];
    while (!this.#scanner.atEnd() && this.#scanner.peek() !== until) {
      entries.push(this.#entry(depth));
      this.#scanner.takeIf(",");
    }
    return entries;
  }

  #entry(depth: number): Entry {
    const keys: { readonly key: string; readonly at: Position }[] = [];
    do {
      keys.push({ at: this.#scanner.position(), key: this.#key() });
    } while (!this.#isJson && this.#isKeyNext());
    const [first, ...labels] = keys as [(typeof keys)[0], ...typeof keys];
    let value = this.#assigned(first.key, labels.length > 0, depth);
    for (const { key, at } of labels.reverse()) {
      value = { kind: "object", at, entries: [{ key, value, at }] };
    }
    return { ...first, value };
  }

  #isKeyNext(): boolean {
    const next = this.#scanner.peek();
    return next !== undefined && /["\p{L}_]/u.test(next);
  }

  #key(): string {
    return this.#scanner.peek() === '"'
      ? readQuoted(this.#scanner, this.#isJson)
      : this.#scanner.match(KEY, "a key");
  }

  #assigned(key: string, isLabelled: boolean, depth: number): Value {
    const scanner = this.#scanner;
    if (this.#isJson) {
      scanner.take(":");
      return this.#value(depth);
    }
    if (scanner.peek() === "{") return this.#object(depth + 1);
    if (!isLabelled && scanner.takeIf("=")) return this.#value(depth);
    const wanted = isLabelled ? '"{"' : '"=" or "{"';
    throw scanner.failure(`${wanted} expected after ${JSON.stringify(key)}`);
  }

  #value(depth: number): Value {
    const scanner = this.#scanner;
    const at = scanner.position();
    switch (scanner.peek()) {
      case "{":
        return this.#object(depth + 1);
      case "[":
        return { kind: "list", items: this.#items(depth + 1), at };
      case '"':
        return { kind: "string", value: readQuoted(scanner, this.#isJson), at };
      case "<":
        return { kind: "string", value: readHeredoc(scanner), at };
      default:
        return this.#word(at);
    }
  }

  #items(depth: number): Value[] {
    if (depth > MAX_DEPTH) throw this.#tooDeep();
    const scanner = this.#scanner;
    scanner.take("[");
    const items: Value[] = [];
    while (scanner.peek() !== "]") {
      items.push(this.#value(depth));
      if (!scanner.takeIf(",")) break;
    }
    scanner.take("]");
    return items;
  }

  #word(at: Position): Value {
    const word = this.#scanner.match(WORD, "a value");
    if (word === "true" || word === "false") return { kind: "boolean", value: word === "true", at };
    if (word === "null" && this.#isJson) return { kind: "null", at };
    if (NUMBER.test(word)) return { kind: "number", text: word, at };
    throw this.#scanner.failure(`a value expected, not ${JSON.stringify(word)}`, at);
  }

  #tooDeep(): ConfigError {
    return this.#scanner.failure(`nested deeper than ${MAX_DEPTH} levels`);
  }
}
