/**
 * Ours and the reference side by side, in turn, on this machine: prints a table of ratios, and with `--write` renews docs/PERFORMANCE.md
 * and its plot. Asserts nothing. `scripts/bench` builds what it needs and runs it.
 *
 *   bun test/bench/compare.ts [--quick] [--rounds N] [--only server|agent|growth|bare] [--write]
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Implementation } from "../support/spire.ts";
import { measureAgent } from "./compare/agent.ts";
import { anchorTable } from "./compare/anchors.ts";
import { bareTable } from "./compare/bare.ts";
import { type Effort, FULL, QUICK } from "./compare/effort.ts";
import type { Measured } from "./compare/figures.ts";
import { growthTable } from "./compare/growth.ts";
import { median, ROOT } from "./compare/load.ts";
import { measurePropagation } from "./compare/propagation.ts";
import { plot, type Round, ratios, ratioTable } from "./compare/report.ts";
import { measureMany, measureServer } from "./compare/server.ts";

const { values: chosen } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
    rounds: { type: "string" },
    only: { type: "string", default: "all" },
  },
});
const effort: Effort = chosen.quick ? QUICK : FULL;
const rounds = Number(chosen.rounds ?? effort.rounds);
const wanted = (part: string): boolean => chosen.only === "all" || chosen.only === part;

async function measured(implementation: Implementation): Promise<Measured> {
  const all: Measured = new Map();
  const add = (some: Measured): void => {
    for (const [name, value] of some) all.set(name, value);
  };
  if (wanted("server")) {
    add(await measureServer(implementation, effort));
    if (effort.many > 0) {
      const many = await measureMany(implementation, effort, effort.many);
      for (const name of ["serverMemoryMany", "authorized", "sync", "syncCpu"]) {
        all.set(name, many.get(name) ?? Number.NaN);
      }
    }
  }
  if (wanted("agent")) {
    add(await measureAgent(implementation, effort));
    const { stored } = await measurePropagation(implementation, effort.propagated);
    all.set("propagation", median(stored));
  }
  return all;
}

function tell(round: number, implementation: Implementation, all: Measured): void {
  const values = [...all].map(([name, value]) => `${name}=${value.toPrecision(3)}`);
  console.error(`round ${round} ${implementation}: ${values.join(" ")}`);
}

const done: Round[] = [];
if (wanted("server") || wanted("agent")) {
  for (let round = 1; round <= rounds; round++) {
    const ours = await measured("ours");
    tell(round, "ours", ours);
    const reference = await measured("reference");
    tell(round, "reference", reference);
    done.push({ ours, reference });
  }
}
const compared = ratios(done);
const { dependencies = {}, devDependencies = {} } = JSON.parse(
  readFileSync(join(ROOT, "package.json"), "utf8"),
) as Record<string, Record<string, string>>;
const bun = devDependencies["bun"] ?? dependencies["bun"] ?? Bun.version;
const growth = !chosen.quick && wanted("growth") ? await growthTable(effort) : "";
const bare = !chosen.quick && wanted("bare") ? await bareTable(effort.milliseconds) : "";
const figures = [
  `${cpus().length} × ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux; Bun ${bun}; the reference v1.15.3; rounds in turn: ${rounds}.`,
  ...(done.length === 0 ? [] : [ratioTable(compared)]),
  "## Anchors",
  await anchorTable(done),
  ...(growth === "" ? [] : ["## Growth", growth]),
  ...(bare === "" ? [] : ["## What the runtime itself costs", bare]),
].join("\n\n");
console.log(figures);
mkdirSync(join(ROOT, "build/bench"), { recursive: true });
const raw = done.map((round) => ({
  ours: Object.fromEntries(round.ours),
  reference: Object.fromEntries(round.reference),
}));
writeFileSync(join(ROOT, "build/bench/rounds.json"), `${JSON.stringify(raw, undefined, 2)}\n`);
if (chosen.write) {
  const path = join(ROOT, "docs/PERFORMANCE.md");
  const [before = "", , after = ""] = readFileSync(path, "utf8").split(/<!-- (?:begin|end) -->/);
  writeFileSync(path, `${before}<!-- begin -->\n\n${figures}\n\n<!-- end -->${after}`);
  writeFileSync(join(ROOT, "docs/performance.svg"), plot(compared));
}
