/**
 * The functions of the reference's list that work on text; the Sprig documentation tells what each does. Where Go and JavaScript
 * differ on characters beyond ASCII, which no path of a SPIFFE ID has, the function refuses them.
 */
import { createHash } from "node:crypto";
import { type TemplateFunction, takes, takesMore } from "./functions.ts";
import { quoted } from "./printf.ts";
import { type List, printed, TemplateError, textsOf, type Value } from "./values.ts";

/** Far above the length of any path. */
const MAX_TEXT = 16 * 1024;

export const textFunctions: Readonly<Record<string, TemplateFunction>> = {
  upper: takes(["string"], (text) => eachCharacter(text, (one) => one.toUpperCase())),
  lower: takes(["string"], (text) => eachCharacter(text, (one) => one.toLowerCase())),
  title: takes(["string"], (text) =>
    ascii(text).replace(/(?<![A-Za-z0-9_])[a-z]/g, (one) => one.toUpperCase()),
  ),
  untitle: takes(["string"], (text) =>
    ascii(text).replace(/(?<!\S)[A-Z]/g, (one) => one.toLowerCase()),
  ),
  swapcase: takes(["string"], (text) =>
    ascii(text).replace(/[A-Za-z]/g, (one) => (one < "a" ? one.toLowerCase() : one.toUpperCase())),
  ),
  trim: takes(["string"], (text) => ascii(text).trim()),
  trimAll: takes(["string", "string"], trimAll),
  trimPrefix: takes(["string", "string"], (prefix, text) =>
    text.startsWith(prefix) ? text.slice(prefix.length) : text,
  ),
  trimSuffix: takes(["string", "string"], (suffix, text) =>
    text.endsWith(suffix) ? text.slice(0, text.length - suffix.length) : text,
  ),
  nospace: takes(["string"], (text) => ascii(text).replace(/\s/g, "")),
  initials: takes(["string"], (text) => ascii(text).replace(/(\S)\S*\s*|\s+/g, "$1")),
  trunc: takes(["number", "string"], (count, text) => {
    const bytes = Buffer.byteLength(text);
    if (count < 0) return bytes + count > 0 ? sliceBytes(text, bytes + count, bytes) : text;
    return sliceBytes(text, 0, Math.min(count, bytes));
  }),
  abbrev: takes(["number", "string"], (width, text) =>
    width < 4 ? text : abbreviated(ascii(text), 0, width),
  ),
  abbrevboth: takes(["number", "number", "string"], (left, right, text) =>
    right < 4 || (left > 0 && right < 7) ? text : abbreviated(ascii(text), left, right),
  ),
  substr: takes(["number", "number", "string"], (start, end, text) => {
    const bytes = Buffer.byteLength(text);
    if (start < 0) return sliceBytes(text, 0, end);
    return sliceBytes(text, start, end < 0 || end > bytes ? bytes : end);
  }),
  repeat: takes(["number", "string"], (count, text) => {
    if (count < 0) throw new TemplateError("cannot repeat less than 0 times");
    return bounded(count * text.length, () => text.repeat(count));
  }),
  contains: takes(["string", "string"], (part, text) => text.includes(part)),
  hasPrefix: takes(["string", "string"], (prefix, text) => text.startsWith(prefix)),
  hasSuffix: takes(["string", "string"], (suffix, text) => text.endsWith(suffix)),
  replace: takes(["string", "string", "string"], (old, other, text) =>
    bounded((other.length + 1) * (text.length + 1), () => ascii(text).replaceAll(old, () => other)),
  ),
  plural: takes(["string", "string", "number"], (one, many, count) => (count === 1 ? one : many)),
  quote: takesMore([], "any", (...values) =>
    present(values)
      .map((value) => quoted(printed(value)))
      .join(" "),
  ),
  squote: takesMore([], "any", (...values) =>
    present(values)
      .map((value) => `'${printed(value)}'`)
      .join(" "),
  ),
  cat: takesMore([], "any", (...values) => present(values).map(printed).join(" ")),
  indent: takes(["number", "string"], indented),
  nindent: takes(["number", "string"], (count, text) => `\n${indented(count, text)}`),
  toString: takes(["any"], printed),
  splitList: takes(["string", "string"], (separator, text) =>
    separator === "" ? [...text] : text.split(separator),
  ),
  join: takes(["string", "any"], (separator, list) => textsOf(list).join(separator)),
  sha1sum: takes(["string"], (text) => createHash("sha1").update(text).digest("hex")),
  sha256sum: takes(["string"], (text) => createHash("sha256").update(text).digest("hex")),
  adler32sum: takes(["string"], adler32),
  b64enc: takes(["string"], (text) => Buffer.from(text).toString("base64")),
  b64dec: takes(["string"], (text) => {
    const bytes = Buffer.from(text, "base64");
    if (bytes.toString("base64") !== text) throw new TemplateError("the text is not base64");
    return utf8(bytes);
  }),
  b32enc: takes(["string"], encodeBase32),
  b32dec: takes(["string"], decodeBase32),
  seq: takesMore([], "number", sequence),
  wrap: takes(["number", "string"], (width, text) => wrapped(ascii(text), width, "\n", false)),
  wrapWith: takes(["number", "string", "string"], (width, line, text) =>
    wrapped(ascii(text), width, line === "" ? "\n" : line, true),
  ),
  base: takes(["string"], (path) => {
    const bare = path.replace(/\/+$/, "");
    if (bare === "") return path === "" ? "." : "/";
    return bare.slice(bare.lastIndexOf("/") + 1);
  }),
  dir: takes(["string"], (path) => cleaned(path.slice(0, path.lastIndexOf("/") + 1))),
  clean: takes(["string"], cleaned),
  ext: takes(["string"], (path) => /\.[^./]*$/.exec(path)?.[0] ?? ""),
  isAbs: takes(["string"], (path) => path.startsWith("/")),
  fail: takes(["string"], (message) => {
    throw new TemplateError(message);
  }),
};

function ascii(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range is the ASCII alphabet itself.
  if (/^[\x00-\x7f]*$/.test(text)) return text;
  throw new TemplateError("the text has characters that are not ASCII");
}

/** Go maps characters one by one: nothing becomes two, and none depends on its neighbours. */
function eachCharacter(text: string, map: (one: string) => string): string {
  return Array.from(text, (one) => {
    const mapped = map(one);
    return Array.from(mapped).length === 1 ? mapped : one;
  }).join("");
}

/** Go cuts between bytes; within a character there is nothing that could be shown. */
function sliceBytes(text: string, from: number, to: number): string {
  const bytes = Buffer.from(text);
  if (from < 0 || from > to || to > bytes.length) {
    throw new TemplateError(`${from} to ${to} is out of range; there are ${bytes.length} bytes`);
  }
  return utf8(bytes.subarray(from, to));
}

function utf8(bytes: Buffer): string {
  const text = bytes.toString();
  if (Buffer.from(text).equals(bytes)) return text;
  throw new TemplateError("the result is not UTF-8");
}

function bounded(length: number, make: () => string): string {
  if (length <= MAX_TEXT * 64) {
    const text = make();
    if (text.length <= MAX_TEXT) return text;
  }
  throw new TemplateError(`the result has more than ${MAX_TEXT} characters`);
}

function trimAll(cut: string, text: string): string {
  const characters = Array.from(text);
  const kept = (one: string): boolean => !Array.from(cut).includes(one);
  const start = characters.findIndex(kept);
  return start === -1 ? "" : characters.slice(start, characters.findLastIndex(kept) + 1).join("");
}

function present(values: List): Value[] {
  return values.filter((value) => value !== undefined);
}

function indented(count: number, text: string): string {
  if (count < 0) throw new TemplateError("cannot indent by less than 0");
  const blanks = bounded(count, () => " ".repeat(count));
  return blanks + text.replaceAll("\n", `\n${blanks}`);
}

/** Cuts a text down to a width, with dots where something is missing: at its end, or at both. */
function abbreviated(text: string, offset: number, width: number): string {
  if (text.length <= width) return text;
  const shown = width - 3;
  const from = Math.min(offset, text.length - shown);
  if (from <= 4) return `${text.slice(0, shown)}...`;
  // Too narrow for dots on both sides: Sprig then gives nothing.
  if (width < 7) return "";
  if (from + shown >= text.length) return `...${text.slice(text.length - shown)}`;
  return `...${abbreviated(text.slice(from), 0, shown)}`;
}

/** RFC 1950 §8.2, as a decimal number. */
function adler32(text: string): string {
  let low = 1;
  let high = 0;
  for (const octet of Buffer.from(text)) {
    low = (low + octet) % 65521;
    high = (high + low) % 65521;
  }
  return String(high * 65536 + low);
}

/** The shortest path that means the same, by its text alone. */
function cleaned(path: string): string {
  const rooted = path.startsWith("/");
  const kept: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "" || segment === ".") continue;
    if (segment !== "..") kept.push(segment);
    else if (kept.length > 0 && kept.at(-1) !== "..") kept.pop();
    else if (!rooted) kept.push("..");
  }
  return (rooted ? "/" : "") + kept.join("/") || ".";
}

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** RFC 4648 §6. */
function encodeBase32(text: string): string {
  const bits = Array.from(Buffer.from(text), (octet) => octet.toString(2).padStart(8, "0")).join(
    "",
  );
  const digits = bits.replace(/.{1,5}/g, (five) =>
    BASE32.charAt(Number.parseInt(five.padEnd(5, "0"), 2)),
  );
  return digits.padEnd(Math.ceil(digits.length / 8) * 8, "=");
}

function decodeBase32(text: string): string {
  const bits = Array.from(text.replace(/=+$/, ""), (digit) =>
    BASE32.indexOf(digit).toString(2).padStart(5, "0"),
  ).join("");
  const octets = bits.match(/.{8}/g) ?? [];
  const decoded = utf8(Buffer.from(octets.map((octet) => Number.parseInt(octet, 2))));
  if (encodeBase32(decoded) !== text) throw new TemplateError("the text is not base32");
  return decoded;
}

/** Numbers in a row: up to an end, from a start, or with a step between. */
function sequence(...given: readonly number[]): string {
  const [start, step, end] = stepsOf(given);
  if (step === 0 || end < start === step > 0) return "";
  const count = Math.floor((end - start) / step) + 1;
  if (count > MAX_TEXT) throw new TemplateError(`there are more than ${MAX_TEXT} numbers`);
  return Array.from({ length: count }, (_, at) => start + at * step).join(" ");
}

function stepsOf(given: readonly number[]): readonly [number, number, number] {
  const [first = 0, second = 0, third = 0] = given;
  if (given.length === 1) return [1, first < 1 ? -1 : 1, first];
  if (given.length === 2) return [first, second < first ? -1 : 1, second];
  return given.length === 3 ? [first, second, third] : [0, 0, 0];
}

/** Breaks a text into lines at its blanks; words that are longer than a line only where that is asked for. */
function wrapped(text: string, given: number, line: string, breakWords: boolean): string {
  const width = Math.max(given, 1);
  let rest = text;
  let made = "";
  while (rest.length > width) {
    if (rest.startsWith(" ")) {
      rest = rest.slice(1);
      continue;
    }
    const before = rest.lastIndexOf(" ", width);
    const after = breakWords ? width : rest.indexOf(" ", width);
    const end = before === -1 ? after : before;
    if (end === -1) return made + rest;
    made += rest.slice(0, end) + line;
    rest = rest.slice(rest.charAt(end) === " " && (before !== -1 || !breakWords) ? end + 1 : end);
  }
  return made + rest;
}
