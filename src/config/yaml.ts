/**
 * Reads YAML 1.2 (core schema) into the tree that HCL and JSON give. The one door to the package `yaml`. What makes a document mean more
 * than it shows is refused: anchors and aliases (a few lines of them can stand for gigabytes), tags, several documents in a file.
 */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type ParsedNode,
  parseDocument,
  type Scalar,
  type YAMLMap,
} from "yaml";
import { ConfigError } from "./config-error.ts";
import type { Entry, ObjectValue, Position, Value } from "./tree.ts";

const MAX_CHARACTERS = 4 * 1024 * 1024;
const MAX_DEPTH = 64;

/**
 * @param file the name for messages
 * @returns without any key for a document that is empty
 * @throws ConfigError with file, line and column
 */
export function parseYaml(text: string, file: string): ObjectValue {
  if (text.length > MAX_CHARACTERS) {
    throw new ConfigError([`${file}: longer than ${MAX_CHARACTERS} characters`]);
  }
  const lines = new LineCounter();
  const converter = new Converter(file, lines);
  const document = parsed(text, file, lines);
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined) {
    // The library's message goes on with the line itself and a pointer below it.
    const [what = ""] = problem.message.split(/ at line \d+, column \d+:/);
    throw converter.failure(what, problem.pos[0]);
  }
  const { contents } = document;
  if (contents === null) return { kind: "object", entries: [], at: { line: 1, column: 1 } };
  const value = converter.value(contents, 0);
  if (value.kind === "null") return { kind: "object", entries: [], at: value.at };
  if (value.kind !== "object") throw converter.failure("must be a mapping", contents.range[0]);
  return value;
}

function parsed(text: string, file: string, lineCounter: LineCounter): Document.Parsed {
  try {
    return parseDocument(text, { lineCounter, schema: "core", version: "1.2" });
  } catch (error) {
    if (error instanceof RangeError) throw new ConfigError([`${file}: nested too deep`]);
    throw error;
  }
}

class Converter {
  readonly #file: string;
  readonly #lines: LineCounter;

  constructor(file: string, lines: LineCounter) {
    this.#file = file;
    this.#lines = lines;
  }

  failure(what: string, offset: number): ConfigError {
    const { line, column } = this.#position(offset);
    return new ConfigError([`${this.#file}:${line}:${column}: ${what}`]);
  }

  value(node: ParsedNode | null, depth: number): Value {
    const offset = node?.range[0] ?? 0;
    const at = this.#position(offset);
    if (node === null) return { kind: "null", at };
    if (depth > MAX_DEPTH) throw this.failure(`nested deeper than ${MAX_DEPTH} levels`, offset);
    if (isAlias(node) || node.anchor !== undefined) {
      throw this.failure("anchors and aliases are not taken: write the value out", offset);
    }
    if (node.tag !== undefined) {
      throw this.failure(`the tag ${node.tag} is not taken`, offset);
    }
    if (isMap(node)) return { kind: "object", entries: this.#entries(node, depth), at };
    if (isSeq(node)) {
      const items = node.items.map((item) => this.value(item as ParsedNode | null, depth + 1));
      return { kind: "list", items, at };
    }
    return this.#scalar(node, at);
  }

  #entries(map: YAMLMap.Parsed, depth: number): Entry[] {
    return map.items.map(({ key, value }) => {
      const offset = key.range[0];
      if (!isScalar(key) || typeof key.value !== "string") {
        throw this.failure("a key must be a text", offset);
      }
      const at = this.#position(offset);
      if (value === null) return { key: key.value, value: { kind: "null", at }, at };
      return { key: key.value, value: this.value(value, depth + 1), at };
    });
  }

  #scalar({ value, source, range }: Scalar.Parsed, at: Position): Value {
    switch (typeof value) {
      case "string":
        return { kind: "string", value, at };
      case "boolean":
        return { kind: "boolean", value, at };
      case "number":
        // 0o17 and 1e3 are whole numbers, too.
        return {
          kind: "number",
          text: Number.isSafeInteger(value) ? String(value) : source,
          at,
        };
      default:
        if (value === null) return { kind: "null", at };
        throw this.failure("a value expected", range[0]);
    }
  }

  #position(offset: number): Position {
    const { line, col } = this.#lines.linePos(offset);
    return { line, column: col };
  }
}
