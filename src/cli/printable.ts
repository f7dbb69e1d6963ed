/**
 * What others chose, such as a path or a version, as it may be printed: on one line, and without speaking to the terminal. Characters that
 * control it, or that turn around what stands beside them, are written out, as in `\n` and `\u009b`.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, escaped);
}

function escaped(character: string): string {
  const json = JSON.stringify(character).slice(1, -1);
  if (json !== character) return json;
  const code = character.codePointAt(0) ?? 0;
  return `\\u${code.toString(16).padStart(4, "0")}`;
}
