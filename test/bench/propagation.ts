/**
 * How long after `entry create` a workload that waits has the SVID: ours and the reference, each with a server, an agent and a
 * go-spiffe client that holds its stream open. Prints a table; asserts nothing.
 *
 *   scripts/build-binary && test/interop/build-peers && bun test/bench/propagation.ts [ENTRIES] [ours|reference]
 */
import { measurePropagation } from "./compare/propagation.ts";

const cell = (text: string): string => text.padStart(12);
const quantile = (sorted: readonly number[], q: number): string =>
  `${(sorted[Math.ceil(sorted.length * q) - 1] ?? Infinity).toFixed(1)} ms`;

const count = Number(process.argv[2] ?? 50);
const only = process.argv[3];
const rows: string[] = [];
for (const implementation of ["ours", "reference"] as const) {
  if (only !== undefined && only !== implementation) continue;
  const times = await measurePropagation(implementation, count);
  for (const [what, sorted] of Object.entries(times) as [string, readonly number[]][]) {
    const cells = [0.5, 0.99, 1].map((q) => cell(quantile(sorted, q)));
    rows.push(`${implementation.padEnd(12)}${what.padEnd(10)}${cells.join("")}`);
  }
}
console.log(
  `${count} entries, from the call that stores or removes one to a go-spiffe client's update`,
);
console.log(`${" ".repeat(22)}${["median", "p99", "longest"].map(cell).join("")}`);
for (const row of rows) console.log(row);
