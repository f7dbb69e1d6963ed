/** Small texts as Go's fmt and strconv packages write them, because scripts match on them. */

const SHORT: Readonly<Record<string, string>> = {
  "\u0007": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
  '"': '\\"',
  "\\": "\\\\",
};

/** The text in double quotes, as `%q` prints it. */
export function goQuote(text: string): string {
  const inner = text.replace(/["\\\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => {
    const short = SHORT[character];
    if (short !== undefined) return short;
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x80) return `\\x${code.toString(16).padStart(2, "0")}`;
    return code < 0x10000
      ? `\\u${code.toString(16).padStart(4, "0")}`
      : `\\U${code.toString(16).padStart(8, "0")}`;
  });
  return `"${inner}"`;
}

const INT64_MAX = 2n ** 63n - 1n;

/**
 * Reads a whole number as `strconv.ParseInt(text, 0, 64)` does: decimal, 0x, 0o, 0b or a leading zero, underscores between digits.
 *
 * @throws Error `parse error` or `value out of range`
 */
export function parseGoInt(text: string): bigint {
  const match =
    /^([+-]?)(0[xX]_?|0[bB]_?|0[oO]_?|0_?(?=[0-9]))?([0-9a-fA-F]+(?:_[0-9a-fA-F]+)*)$/.exec(text);
  if (match === null) throw new Error("parse error");
  const [, sign = "", prefix = "", digits = ""] = match;
  const magnitude = magnitudeOf(prefix.toLowerCase().replace("_", ""), digits.replaceAll("_", ""));
  const value = sign === "-" ? -magnitude : magnitude;
  if (value > INT64_MAX || value < -INT64_MAX - 1n) throw new Error("value out of range");
  return value;
}

const DIGITS: Readonly<Record<string, RegExp>> = {
  "": /^[0-9]+$/,
  "0x": /^[0-9a-fA-F]+$/,
  "0b": /^[01]+$/,
  "0o": /^[0-7]+$/,
};

function magnitudeOf(prefix: string, digits: string): bigint {
  const base = prefix === "0" ? "0o" : prefix;
  if (DIGITS[base]?.test(digits) !== true) throw new Error("parse error");
  return BigInt(base + digits);
}

const TRUE_WORDS = ["1", "t", "T", "TRUE", "true", "True"];
const FALSE_WORDS = ["0", "f", "F", "FALSE", "false", "False"];

/** Reads a truth value as `strconv.ParseBool` does. @throws Error `parse error` */
export function parseGoBool(text: string): boolean {
  if (TRUE_WORDS.includes(text)) return true;
  if (FALSE_WORDS.includes(text)) return false;
  throw new Error("parse error");
}

/** `1 entry`, `2 entries`: the count with the right word behind it. */
export function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}
