import { printable } from "./printable.ts";

/** Rows below a heading, each column as wide as it must be. */
export function tableText(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const all = [heading, ...rows.map((row) => row.map((cell) => printable(cell) || "-"))];
  const widths = heading.map((_, at) => Math.max(...all.map((row) => row[at]?.length ?? 0)));
  return all
    .map(
      (row) =>
        `${row
          .map((cell, at) => cell.padEnd(widths[at] ?? 0))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}

const UNITS: readonly (readonly [seconds: number, letter: string])[] = [
  [24 * 3600, "d"],
  [3600, "h"],
  [60, "m"],
  [1, "s"],
];

/** A length of time in its largest unit, as a table has room for: `3d`, `59m`, `0s`. @param seconds not negative */
export function shortDuration(seconds: number): string {
  const [length, letter] = UNITS.find(([unit]) => seconds >= unit) ?? [1, "s"];
  return `${Math.floor(seconds / length)}${letter}`;
}
