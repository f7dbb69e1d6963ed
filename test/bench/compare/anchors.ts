/** What the figures can be held against: the machine's raw speed, and what the reference's own documentation plans with. */
import type { Measured } from "./figures.ts";
import { load, median } from "./load.ts";
import { markdownTable, type Round } from "./report.ts";

/** A row of the table in SPIRE's doc/scaling_spire.md, "Deployment Sizing Considerations"; the number of entries is ours in the large server. */
const DOCUMENTED = { agents: 100, workloads: 1_000, servers: "2 servers of 16 cores and 8 GB" };
/** As often as an agent of the reference asks. */
const SYNC_SECONDS = 5;
/** An SVID lives for an hour and is renewed at half of it. */
const RENEWAL_SECONDS = 1_800;

const ENTRIES = DOCUMENTED.agents * DOCUMENTED.workloads;

export async function anchorTable(rounds: readonly Round[]): Promise<string> {
  const machine = await load<{ sign: number; verify: number }>("signatures", {});
  const shape = `${DOCUMENTED.agents} agents with ${DOCUMENTED.workloads} workloads each`;
  const rows = [
    ["P-256 signatures a second, one core, in Go", machine.sign.toFixed(0)],
    ["P-256 verifications a second, one core, in Go", machine.verify.toFixed(0)],
    [`SPIRE's scaling document for ${shape}`, DOCUMENTED.servers],
    ["what their syncs and renewals cost by the figures above: ours", need(rounds, "ours")],
    ["… the reference", need(rounds, "reference")],
  ];
  return markdownTable(["anchor", "here"], rows);
}

function need(rounds: readonly Round[], implementation: keyof Round): string {
  const all = rounds.flatMap((round) => {
    const cores = coresFor(round[implementation]);
    return cores === undefined ? [] : [cores];
  });
  if (all.length === 0) return "not measured";
  const memory = rounds.map((round) => round[implementation].get("serverMemoryMany") ?? Number.NaN);
  return `${median(all).toPrecision(2)} of a core and ${median(memory).toFixed(0)} MB`;
}

/** Undefined without the large server. */
function coresFor(measured: Measured): number | undefined {
  const [sync, thousand] = [measured.get("syncCpu"), measured.get("batchCpu")];
  if (sync === undefined || thousand === undefined || !measured.has("serverMemoryMany")) return;
  const syncs = (DOCUMENTED.agents / SYNC_SECONDS) * sync;
  return syncs + (ENTRIES / RENEWAL_SECONDS) * (thousand / 1_000);
}
