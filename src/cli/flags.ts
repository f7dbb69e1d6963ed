/**
 * Command-line flags with the rules of Go's flag package, which the reference's scripts rely on: `-f v`, `-f=v`, `--f v`;
 * a switch takes a value only after `=`; parsing ends at the first word that is no flag, or at `--`.
 */

import { formatDuration, parseDuration } from "#config/duration.ts";
import { nearest } from "#config/nearest.ts";
import { withoutJoinWords } from "#spiffe/secret-text.ts";
import { errorText } from "#spiffe/status-error.ts";
import { goQuote, parseGoBool, parseGoInt } from "./go-text.ts";

/** One flag: how it reads its value and how the help shows it. */
export interface Flag<T> {
  /** The type word in the help; empty for a switch, which needs no value. */
  readonly valueName: string;
  readonly help: string;
  readonly initial: T;
  /** The default as the help shows it; absent when it is a zero value. */
  readonly defaultText?: string;
  /** Other names that set the same value; not shown in the help. */
  readonly aliases?: readonly string[];
  /** Reads one occurrence; `before` holds what earlier ones gave, undefined at the first. @throws Error */
  read(text: string, before: T | undefined): T;
}

export type FlagSpecs = Readonly<Record<string, Flag<unknown>>>;
export type FlagValues<S extends FlagSpecs> = {
  readonly [K in keyof S]: S[K] extends Flag<infer T> ? T : never;
};

export interface ParsedFlags {
  /** The values of some of the flags that were parsed, by their specs. */
  read<S extends FlagSpecs>(specs: S): FlagValues<S>;
  /** The flags that were on the command line, whatever their value. */
  readonly given: ReadonlySet<string>;
  /** The words behind the flags. */
  readonly operands: readonly string[];
  /** The first of those words where no `--` announces it, and the switch right before it, which has not taken it for its value. */
  readonly stray: { readonly word: string; readonly lastSwitch: string | undefined } | undefined;
}

export function stringFlag(
  help: string,
  initial = "",
  aliases: readonly string[] = [],
): Flag<string> {
  return {
    valueName: "string",
    help,
    initial,
    aliases,
    ...(initial === "" ? {} : { defaultText: goQuote(initial) }),
    read: (text) => text,
  };
}

export function switchFlag(help: string): Flag<boolean> {
  return { valueName: "", help, initial: false, read: parseGoBool };
}

export function intFlag(help: string, initial = 0, aliases: readonly string[] = []): Flag<number> {
  return {
    valueName: "int",
    help,
    initial,
    aliases,
    ...(initial === 0 ? {} : { defaultText: String(initial) }),
    read: (text) => Number(parseGoInt(text)),
  };
}

/** Whole seconds, written as a number or as a duration such as `1h30m`, which is rounded up. */
export function secondsFlag(
  help: string,
  initial = 0,
  aliases: readonly string[] = [],
): Flag<number> {
  return { ...intFlag(help, initial, aliases), read: readSeconds };
}

/** @throws Error `parse error` or `value out of range` */
function readSeconds(text: string): number {
  try {
    return Number(parseGoInt(text));
  } catch (error) {
    if (!/^[+-]?[\d.]+[^\d.]/.test(text)) throw error;
    return Math.ceil(readDuration(text, "duration"));
  }
}

/** Seconds, written as a Go duration such as `1h30m`. */
export function durationFlag(
  help: string,
  initialSeconds = 0,
  valueName = "duration",
): Flag<number> {
  return {
    valueName,
    help,
    initial: initialSeconds,
    ...(initialSeconds === 0 ? {} : { defaultText: formatDuration(initialSeconds) }),
    read: (text) => readDuration(text, valueName),
  };
}

function readDuration(text: string, valueName: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    // The standard flag hides why; one of the type "value" passes the reason on.
    throw valueName === "duration" ? new Error("parse error", { cause: error }) : error;
  }
}

/** May be given several times. */
export function repeatedFlag(help: string): Flag<readonly string[]> {
  return {
    valueName: "value",
    help,
    initial: [],
    read: (text, before) => [...(before ?? []), text],
  };
}

/** A comma-separated list; the last occurrence counts. */
export function commaListFlag(help: string): Flag<readonly string[]> {
  return { valueName: "value", help, initial: [], read: (text) => text.split(",") };
}

/** `true` and `false` filter; any other word stands for both and is undefined. */
export function eitherFlag(help: string): Flag<boolean | undefined> {
  return {
    valueName: "value",
    help,
    initial: undefined,
    read: (text) => (text === "true" ? true : text === "false" ? false : undefined),
  };
}

/** What is wrong with the flags. Words are quoted in it, but for those that are secret. */
export class FlagError extends Error {
  override readonly name: string = "FlagError";
  /** What was probably meant. */
  readonly near: string | undefined;

  constructor(message: string, near?: string) {
    super(withoutJoinWords(message));
    this.near = near;
  }
}

/** @throws FlagError when a word stands behind the flags that no `--` announces: flags behind it would not be heeded */
export function refuseStray({ stray }: ParsedFlags): void {
  if (stray === undefined) return;
  const { word, lastSwitch } = stray;
  const isTruth = lastSwitch !== undefined && /^(true|false|[01tf])$/i.test(word);
  const hint = isTruth ? `-${lastSwitch}=${word}` : undefined;
  throw new FlagError(`unexpected argument ${quoteWord(word)}`, hint);
}

/** A word of the command line, for a message; one that may be a join token is not repeated. */
export function quoteWord(word: string): string {
  const isToken = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(word);
  return isToken ? "that looks like a token" : goQuote(withoutJoinWords(word));
}

/** @throws FlagError in the words of Go's flag package */
export function parseFlags(specs: FlagSpecs, words: readonly string[]): ParsedFlags {
  const values: Record<string, unknown> = initialValues(specs);
  const given = new Set<string>();
  let lastSwitch: string | undefined;
  let at = 0;
  for (; isFlag(words[at]); at++) {
    const { name, value } = splitFlag(words[at] ?? "");
    const [key, flag] = findFlag(specs, name);
    let text = value;
    const isBareSwitch = text === undefined && flag.valueName === "";
    lastSwitch = isBareSwitch ? name : undefined;
    if (text === undefined && !isBareSwitch) {
      at++;
      text = words[at];
      if (text === undefined) throw new FlagError(`flag needs an argument: -${name}`);
    }
    values[key] = readValue(flag, name, text, given.has(key) ? values[key] : undefined);
    given.add(key);
  }
  const behind = wordsBehind(words.slice(at), lastSwitch);
  const read = <S extends FlagSpecs>(): FlagValues<S> => values as FlagValues<S>;
  return { read, given, ...behind };
}

function wordsBehind(
  [word, ...more]: readonly string[],
  lastSwitch: string | undefined,
): Pick<ParsedFlags, "operands" | "stray"> {
  if (word === undefined || word === "--") return { operands: more, stray: undefined };
  return { operands: [word, ...more], stray: { word, lastSwitch } };
}

function isFlag(word = ""): boolean {
  return word.length > 1 && word.startsWith("-") && word !== "--";
}

function initialValues(specs: FlagSpecs): Record<string, unknown> {
  return Object.fromEntries(Object.entries(specs).map(([name, { initial }]) => [name, initial]));
}

function splitFlag(word: string): { name: string; value: string | undefined } {
  const body = word.slice(word.startsWith("--") ? 2 : 1);
  if (body === "" || body.startsWith("-") || body.startsWith("=")) {
    throw new FlagError(`bad flag syntax: ${word}`);
  }
  const equals = body.indexOf("=");
  return equals === -1
    ? { name: body, value: undefined }
    : { name: body.slice(0, equals), value: body.slice(equals + 1) };
}

function findFlag(specs: FlagSpecs, name: string): [string, Flag<unknown>] {
  const found = Object.entries(specs).find(
    ([key, flag]) => key === name || flag.aliases?.includes(name) === true,
  );
  if (found !== undefined) return found;
  const near = nearest(
    name,
    Object.entries(specs).flatMap(([key, { aliases = [] }]) => [key, ...aliases]),
  );
  const hint = near === undefined ? undefined : `-${near}`;
  throw new FlagError(`flag provided but not defined: -${name}`, hint);
}

function readValue(
  flag: Flag<unknown>,
  name: string,
  text: string | undefined,
  before: unknown,
): unknown {
  try {
    return flag.read(text ?? "true", before);
  } catch (error) {
    const kind = flag.valueName === "" ? "boolean value" : "value";
    const label = flag.valueName === "" ? `-${name}` : `flag -${name}`;
    throw new FlagError(`invalid ${kind} ${goQuote(text ?? "")} for ${label}: ${errorText(error)}`);
  }
}

/** The help of a command: its flags in alphabetical order, each with its type, meaning and default. */
export function usageText(command: string, specs: FlagSpecs): string {
  const lines = [`Usage of ${command}:`];
  for (const [name, flag] of Object.entries(specs).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const type = flag.valueName === "" ? "" : ` ${flag.valueName}`;
    const initial = flag.defaultText === undefined ? "" : ` (default ${flag.defaultText})`;
    lines.push(`  -${name}${type}`, `    \t${flag.help}${initial}`);
  }
  return `${lines.join("\n")}\n`;
}
