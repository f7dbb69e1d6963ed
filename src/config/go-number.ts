/** Whole numbers as Go reads them where the base may be anything: `8081`, `0x1F91`, `0o17`, `017`, `0b11`, `1_000`. */
const WHOLE =
  /^[+-]?(?:0[xX](?:_?[\da-fA-F])+|0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0(?:_?[0-7])*|[1-9](?:_?\d)*)$/;

/** Undefined when the text is none, or beyond the numbers that are exact here. */
export function parseWhole(text: string): number | undefined {
  if (!WHOLE.test(text)) return undefined;
  const digits = text.replace(/^[+-]/, "").replaceAll("_", "");
  // A leading zero alone says octal, too.
  const number = Number(/^0\d/.test(digits) ? `0o${digits.slice(1)}` : digits);
  if (!Number.isSafeInteger(number)) return undefined;
  return text.startsWith("-") ? 0 - number : number;
}
