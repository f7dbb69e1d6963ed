/** How the server's figures change with the number of its entries. */
import type { Implementation } from "../../support/spire.ts";
import type { Effort } from "./effort.ts";
import type { Measured } from "./figures.ts";
import { exponent, markdownTable } from "./report.ts";
import { measureMany } from "./server.ts";

const SIZES = [1_000, 10_000, 100_000] as const;

/** What grows, and whether it is a rate, which is turned into time: an exponent then always tells how cost grows. */
const GROWING = [
  ["batch50", "BatchNewX509SVID: time of an SVID", true],
  ["mintX509", "MintX509SVID: time of a call", true],
  ["newJwt", "NewJWTSVID: time of a call", true],
  ["mintJwt", "MintJWTSVID: time of a call", true],
  ["attest", "AttestAgent: time of a call", true],
  ["authorized", "GetAuthorizedEntries of 1,000: time of a call", true],
  ["sync", "SyncAuthorizedEntries of 1,000: time of a call", true],
  ["create", "BatchCreateEntry: time of an entry", true],
  ["serverStart", "start until the API answers", false],
  ["serverMemoryMany", "resident memory", false],
] as const;

/** Each figure relative to what it is at the smallest size, and the exponent with which it grows. */
export async function growthTable(effort: Effort): Promise<string> {
  const rows: string[][] = [];
  for (const implementation of ["ours", "reference"] satisfies Implementation[]) {
    const all: Measured[] = [];
    for (const size of SIZES) all.push(await measureMany(implementation, effort, size));
    for (const [name, what, isRate] of GROWING) {
      const values = all.map((one) => one.get(name) ?? Number.NaN);
      const costs = isRate ? values.map((value) => 1 / value) : values;
      const relative = costs.map((value) => (value / (costs[0] ?? 1)).toFixed(2));
      rows.push([what, implementation, ...relative, exponent(SIZES, costs).toFixed(2)]);
    }
  }
  const header = ["figure", "of", ...SIZES.map((size) => size.toLocaleString("en")), "exponent"];
  return markdownTable(header, rows);
}
