/**
 * The word that somebody probably meant: one or two slips of the keyboard from what was written (a letter too many, missing, wrong, or two
 * that changed places), or the same but for case, dashes and underscores.
 *
 * @returns undefined when none is near enough to be worth a question
 */
export function nearest(given: string, known: Iterable<string>): string | undefined {
  let found: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const word of known) {
    const slips = plain(word) === plain(given) ? 0 : slipsBetween(word, given);
    if (slips >= least || slips > allowed(word, given)) continue;
    found = word;
    least = slips;
  }
  return found;
}

/** For a message that ends there, or goes on behind it; empty when nothing is near. */
export function didYouMean(given: string, known: Iterable<string>): string {
  const near = nearest(given, known);
  return near === undefined ? "" : `; did you mean ${JSON.stringify(near)}?`;
}

/** A short word is another word after two slips. */
const SHORT = 4;
const LONGEST = 64;

function allowed(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  return shorter < 2 ? 0 : shorter <= SHORT ? 1 : 2;
}

function plain(text: string): string {
  return text.toLowerCase().replace(/[_-]/g, "");
}

/** The optimal string alignment distance. */
function slipsBetween(a: string, b: string): number {
  if (Math.max(a.length, b.length) > LONGEST) return Number.POSITIVE_INFINITY;
  const rows = [Array.from({ length: b.length + 1 }, (_, index) => index)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) row.push(slipsAt(a, b, i, j, rows));
  }
  return rows[a.length]?.[b.length] ?? 0;
}

/** Of the first `i` letters of one word and the first `j` of the other, from what is known of shorter beginnings. */
function slipsAt(
  a: string,
  b: string,
  i: number,
  j: number,
  rows: readonly (readonly number[])[],
): number {
  const known = (row: number, column: number): number =>
    rows[row]?.[column] ?? Number.POSITIVE_INFINITY;
  const isSwap = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
  return Math.min(
    known(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1),
    known(i - 1, j) + 1,
    known(i, j - 1) + 1,
    isSwap ? known(i - 2, j - 2) + 1 : Number.POSITIVE_INFINITY,
  );
}
