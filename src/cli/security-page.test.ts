/** docs/SECURITY.md names bounds: each is the number that the source has. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const SOURCES = join(import.meta.dir, "..");

interface Bound {
  readonly shown: string;
  readonly file: string;
  readonly name: string;
}

function bounds(): Bound[] {
  const page = readFileSync(join(SOURCES, "../docs/SECURITY.md"), "utf8");
  const rows = page.matchAll(/^\|[^|]+\| ([^|]+) \| `([^`]+)` `([^`]+)` \|$/gm);
  return [...rows].map(([, shown = "", file = "", name = ""]) => ({ shown, file, name }));
}

const UNITS: Readonly<Record<string, number>> = {
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  s: 1000,
};

/** Every number of `64 KiB, 2,048 fields`, in bytes, milliseconds or pieces. */
function shownNumbers(text: string): number[] {
  return [...text.matchAll(/(\d[\d,]*\d|\d)(?: (KiB|MiB|GiB|s)\b)?/g)].map(
    ([, digits = "", unit = ""]) => Number(digits.replaceAll(",", "")) * (UNITS[unit] ?? 1),
  );
}

/** Every number that the name stands for in that source: one, or those of an object of one line. */
function numbersOf(source: string, name: string): number[] {
  const declared = new RegExp(`\\b${name}(?:: [\\w<>]+)?(?: =|:) ([^;\\n]+)`, "g");
  const [found] = [...source.matchAll(declared)].filter(([, value = ""]) =>
    /\d|[A-Z]{3}/.test(value),
  );
  if (found === undefined) return [];
  const value = (found[1] ?? "").replace(/[{}]|\w+: /g, "").replace(/, *$/, "");
  return value.split(",").map((product) => {
    const factors = product.split("*").map((factor) => factor.trim().replaceAll("_", ""));
    return factors.reduce((all, factor) => {
      const number = /^\d+$/.test(factor) ? Number(factor) : numbersOf(source, factor)[0];
      return all * (number ?? Number.NaN);
    }, 1);
  });
}

test("the bounds in docs/SECURITY.md are those in the source", () => {
  const named = bounds();
  expect(named.length).toBeGreaterThan(20);
  for (const { shown, file, name } of named) {
    const source = readFileSync(join(SOURCES, file), "utf8");
    expect([file, name, ...numbersOf(source, name)]).toEqual([file, name, ...shownNumbers(shown)]);
  }
});
