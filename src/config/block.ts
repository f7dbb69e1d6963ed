/**
 * A block of the configuration, asked for its keys by name and type. What nobody asked for is unknown, and is reported with its line. All
 * problems of a file are collected, so that one run shows them all.
 */

import { errorText } from "#spiffe/status-error.ts";
import { ConfigError } from "./config-error.ts";
import { filePath, NoCredentialsError } from "./credential.ts";
import { parseDuration } from "./duration.ts";
import { parseWhole } from "./go-number.ts";
import { didYouMean } from "./nearest.ts";
import { SERVER_CONFIG } from "./packaged.ts";
import type { Entry, ObjectValue, Value } from "./tree.ts";

/** Where problems of one file go, and what else the operator should know about it. */
export class Problems {
  readonly #file: string;
  readonly #found: string[];
  readonly #notes: string[];
  /** Whether credentials of the unit, which only its own processes have, are no problem while they are not there. */
  readonly #isFromOutside: boolean;

  /**
   * @param file that they are about
   * @param whole whose problems these are, too
   * @param isFromOutside whether the file is only looked at, perhaps by a process that has not the credentials of the daemon's unit
   */
  constructor(
    file: string,
    whole?: Problems,
    isFromOutside: boolean = whole?.isFromOutside ?? false,
  ) {
    this.#file = file;
    this.#isFromOutside = isFromOutside;
    this.#found = whole === undefined ? [] : whole.#found;
    this.#notes = whole === undefined ? [] : whole.#notes;
  }

  /** For a file that this one names: told with its own lines, collected in the same place. */
  of(file: string): Problems {
    return new Problems(file, this);
  }

  add(message: string, line?: number): void {
    this.#found.push(this.#at(message, line));
  }

  /** Nothing is wrong, but a key does not do what its author may think. */
  note(message: string, line?: number): void {
    this.#notes.push(this.#at(message, line));
  }

  get isFromOutside(): boolean {
    return this.#isFromOutside;
  }

  /** Whether the file is the one that the server's package brought. */
  get isPackaged(): boolean {
    return this.#file === SERVER_CONFIG;
  }

  get notes(): readonly string[] {
    return this.#notes;
  }

  #at(message: string, line: number | undefined): string {
    return line === undefined ? message : `${this.#file}:${line}: ${message}`;
  }

  /** @param cause of the last one, for whoever tells kinds of them apart @throws ConfigError when there are any */
  check(cause?: unknown): void {
    if (this.#found.length > 0) throw new ConfigError(this.#found, cause);
  }
}

/** Keys are found in whatever case they are written, as the reference does; labels are not. */
export class Block {
  readonly #entries: readonly Entry[];
  /** How messages call it, for instance `the server block`. */
  readonly #name: string;
  readonly #problems: Problems;
  /** As they are asked for, by their lower case. */
  readonly #asked: Map<string, string> = new Map();
  readonly line: number | undefined;

  constructor(values: readonly ObjectValue[], name: string, problems: Problems) {
    this.#entries = values.flatMap((value) => value.entries);
    this.#name = name;
    this.#problems = problems;
    this.line = values[0]?.at.line;
  }

  /** The line of a key, for messages about its value. */
  lineOf(key: string): number | undefined {
    return this.#last(key)?.at.line;
  }

  has(key: string): boolean {
    return this.#last(key) !== undefined;
  }

  /** Whether the key is given, and asks for something: more than `false`, zero, an empty text or an empty list. */
  asksFor(key: string): boolean {
    const value = this.#last(key)?.value;
    if (value === undefined || value.kind === "null") return false;
    switch (value.kind) {
      case "object":
        return true;
      case "list":
        return value.items.length > 0;
      case "number":
        return Number(value.text) !== 0;
      default:
        return Boolean(value.value);
    }
  }

  isObject(key: string): boolean {
    const value = this.#last(key)?.value;
    return value !== undefined && objectsOf(value) !== undefined;
  }

  string(key: string): string | undefined {
    const entry = this.#last(key);
    if (entry === undefined) return undefined;
    const { value } = entry;
    return textOf(value) ?? this.#wrong(entry, "a string");
  }

  number(key: string): number | undefined {
    const entry = this.#last(key);
    if (entry === undefined) return undefined;
    const text = textOf(entry.value) ?? "";
    return parseWhole(text) ?? this.#wrong(entry, "a whole number");
  }

  boolean(key: string): boolean | undefined {
    const entry = this.#last(key);
    if (entry === undefined) return undefined;
    const { value } = entry;
    if (value.kind === "boolean") return value.value;
    if (value.kind === "string" && (value.value === "true" || value.value === "false"))
      return value.value === "true";
    return this.#wrong(entry, "true or false");
  }

  /** A list that comes several times goes on. */
  strings(key: string): readonly string[] {
    return this.#all(key).flatMap((entry) => {
      const items = entry.value.kind === "list" ? entry.value.items : [entry.value];
      const texts = items.map(textOf);
      if (texts.every((text) => text !== undefined)) return texts;
      this.#wrong(entry, "a list of strings");
      return [];
    });
  }

  /** The path of a file that is read: one of the machine's, or a credential's. */
  path(key: string): string | undefined {
    const text = this.string(key);
    return text === undefined ? undefined : this.#filePath(key, text);
  }

  /** The paths of several such files. */
  paths(key: string): readonly string[] {
    return this.strings(key).map((text) => this.#filePath(key, text));
  }

  #filePath(key: string, text: string): string {
    try {
      return filePath(text);
    } catch (error) {
      const isElsewhere = this.#problems.isFromOutside && error instanceof NoCredentialsError;
      const found = isElsewhere ? "note" : "add";
      this.#problems[found](`${key}: ${errorText(error)}`, this.lineOf(key));
      return text;
    }
  }

  /**
   * A Go duration, in seconds.
   *
   * @param complaint what to say about a value that is none: `could not parse agent ttl`
   */
  duration(key: string, complaint: string): number | undefined {
    const text = this.string(key);
    return text === undefined || text === ""
      ? undefined
      : this.convert(key, complaint, () => parseDuration(text));
  }

  /** Runs a conversion of the key's value and turns what it throws into a problem at the key's line. */
  convert<T>(key: string, complaint: string, run: () => T): T | undefined {
    try {
      return run();
    } catch (error) {
      const shown = JSON.stringify(this.string(key) ?? "");
      this.#problems.add(`${complaint} ${shown}: ${errorText(error)}`, this.lineOf(key));
      return undefined;
    }
  }

  /** A nested block; one that comes several times counts as one. */
  block(key: string): Block | undefined {
    const objects = this.#objects(key);
    return objects.length === 0
      ? undefined
      : new Block(objects, `the ${key} block`, this.#problems);
  }

  /** The blocks of a key one by one: `key { … }` several times, or `key = [{ … }, { … }]`. */
  blocks(key: string): readonly Block[] {
    return this.#objects(key).map(
      (object) => new Block([object], `a ${key} block`, this.#problems),
    );
  }

  /** The blocks `key "label" { … }`, in order. */
  labelled(key: string): readonly { readonly label: string; readonly block: Block }[] {
    return this.#objects(key).flatMap((object) =>
      object.entries.flatMap(({ key: label, value, at }) => {
        const inner = objectsOf(value);
        if (inner === undefined) {
          this.#problems.add(`${key} ${JSON.stringify(label)} must be a block`, at.line);
          return [];
        }
        const name = `the ${key} ${JSON.stringify(label)} block`;
        return [{ label, block: new Block(inner, name, this.#problems) }];
      }),
    );
  }

  /** A block without any key, whose problems go to the same place. */
  none(): Block {
    return new Block([], this.#name, this.#problems);
  }

  /** Reports every key that nobody asked for, and tells of those that were given more than once. */
  finish(): void {
    for (const key of this.#asked.values()) {
      const values = this.#all(key).filter(({ value }) => textOf(value) !== undefined);
      if (values.length > 1) {
        this.#problems.note(
          `${key} is given ${values.length} times; the last one counts`,
          this.lineOf(key),
        );
      }
    }
    for (const { key, at } of this.#entries) {
      if (this.#asked.has(key.toLowerCase())) continue;
      const hint = didYouMean(key, this.#asked.values());
      this.#problems.add(
        `unknown configuration detected: key ${JSON.stringify(key)} in ${this.#name}${hint}`,
        at.line,
      );
    }
  }

  #objects(key: string): readonly ObjectValue[] {
    return this.#all(key).flatMap(
      (entry) => objectsOf(entry.value) ?? this.#wrong(entry, "a block") ?? [],
    );
  }

  #all(key: string): readonly Entry[] {
    const lower = key.toLowerCase();
    this.#asked.set(lower, key);
    return this.#entries.filter(
      (entry) => entry.key.toLowerCase() === lower && entry.value.kind !== "null",
    );
  }

  #last(key: string): Entry | undefined {
    return this.#all(key).at(-1);
  }

  #wrong(entry: Entry, wanted: string): undefined {
    this.#problems.add(`${entry.key} must be ${wanted}`, entry.at.line);
    return undefined;
  }
}

/** Numbers and truths stand for their text, too. */
function textOf(value: Value): string | undefined {
  if (value.kind === "number") return value.text;
  return value.kind === "string" || value.kind === "boolean" ? String(value.value) : undefined;
}

/** JSON writes repeated blocks as a list of objects. */
function objectsOf(value: Value): readonly ObjectValue[] | undefined {
  if (value.kind === "object") return [value];
  if (value.kind !== "list") return undefined;
  const objects = value.items.filter((item) => item.kind === "object");
  return objects.length === value.items.length ? objects : undefined;
}
