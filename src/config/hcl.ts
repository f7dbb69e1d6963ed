/**
 * Reads HCL version 1, and JSON with the same parser: `key = value`, `key { … }`, `key "label" { … }`, comments, heredocs. A label becomes
 * a nested object, so `KeyManager "disk" { … }` reads like `KeyManager = { disk = { … } }`. There is no kept library for this version.
 */
import { ConfigError } from "./config-error.ts";
import { Scanner } from "./hcl-scanner.ts";
import type { Entry, ObjectValue, Position, Value } from "./tree.ts";

const MAX_BYTES = 4 * 1024 * 1024;
const MAX_DEPTH = 64;

/**
 * @param file the name for messages
 * @throws ConfigError with file, line and column
 */
export function parseHcl(text: string, file: string): ObjectValue {
  if (text.length > MAX_BYTES) throw new ConfigError([`${file}: larger than ${MAX_BYTES} bytes`]);
  const scanner = new Scanner(text, file);
  const at = scanner.position();
  const whole = scanner.takeIf("{");
  const entries = parseEntries(scanner, whole ? "}" : undefined, 0);
  if (whole) scanner.take("}");
  if (!scanner.atEnd()) throw scanner.failure("nothing may follow the closing brace");
  return { kind: "object", entries, at };
}

function parseEntries(scanner: Scanner, until: "}" | undefined, depth: number): Entry[] {
  if (depth > MAX_DEPTH) throw scanner.failure(`nested deeper than ${MAX_DEPTH} levels`);
  const entries: Entry[] = [];
  while (!scanner.atEnd() && scanner.peek() !== until) {
    entries.push(parseEntry(scanner, depth));
    scanner.takeIf(",");
  }
  return entries;
}

function parseEntry(scanner: Scanner, depth: number): Entry {
  const at = scanner.position();
  const key = scanner.key();
  const labels: { readonly text: string; readonly at: Position }[] = [];
  while (scanner.peek() === '"') labels.push({ at: scanner.position(), text: scanner.quoted() });
  let value: Value;
  if (scanner.peek() === "{") value = parseValue(scanner, depth);
  else if (labels.length === 0 && (scanner.takeIf("=") || scanner.takeIf(":"))) {
    value = parseValue(scanner, depth);
  } else throw scanner.failure(`"=" or "{" expected after ${JSON.stringify(key)}`);
  for (const label of labels.reverse()) {
    value = { kind: "object", at: label.at, entries: [{ key: label.text, value, at: label.at }] };
  }
  return { key, value, at };
}

function parseValue(scanner: Scanner, depth: number): Value {
  const at = scanner.position();
  switch (scanner.peek()) {
    case "{": {
      scanner.take("{");
      const entries = parseEntries(scanner, "}", depth + 1);
      scanner.take("}");
      return { kind: "object", entries, at };
    }
    case "[":
      return { kind: "list", items: parseItems(scanner, depth + 1), at };
    case '"':
      return { kind: "string", value: scanner.quoted(), at };
    case "<":
      return { kind: "string", value: scanner.heredoc(), at };
    default:
      return parseWord(scanner, at);
  }
}

function parseItems(scanner: Scanner, depth: number): Value[] {
  if (depth > MAX_DEPTH) throw scanner.failure(`nested deeper than ${MAX_DEPTH} levels`);
  scanner.take("[");
  const items: Value[] = [];
  while (scanner.peek() !== "]") {
    items.push(parseValue(scanner, depth));
    if (!scanner.takeIf(",")) break;
  }
  scanner.take("]");
  return items;
}

function parseWord(scanner: Scanner, at: Position): Value {
  const word = scanner.word();
  if (word === "true" || word === "false") return { kind: "boolean", value: word === "true", at };
  if (word === "null") return { kind: "null", at };
  const value = /^-?(0x[0-9a-f]+|\d+(\.\d+)?(e[+-]?\d+)?)$/i.test(word)
    ? toNumber(word)
    : Number.NaN;
  if (Number.isNaN(value)) throw scanner.failure(`a value expected, not ${JSON.stringify(word)}`);
  return { kind: "number", value, at };
}

function toNumber(word: string): number {
  return word.startsWith("-") ? -Number(word.slice(1)) : Number(word);
}
