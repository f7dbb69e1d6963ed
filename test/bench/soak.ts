/**
 * Half a million calls and fifty thousand short connections, in at most ten minutes; prints how memory and descriptors of both daemons
 * went, and ends with 1 when they grew.
 *
 *   bun test/bench/soak.ts [CALLS [CONNECTIONS]]      default 500000 50000
 */
import { median, type Sample, soak } from "../endurance/soak.ts";
import { Stage } from "../support/spire.ts";

const LINES = 20;
/** Growth from the second fifth of the way to the last. */
const MAX_GROWTH = 1.15;
const MAX_MORE_DESCRIPTORS = 10;

const [calls = "500000", connections = "50000"] = process.argv.slice(2);
const stage = new Stage();
try {
  const result = await soak(stage, { calls: Number(calls), connections: Number(connections) });
  console.log(`${calls} calls, ${connections} connections in ${result.seconds} s`);
  console.log("done   server: MB  fds   agent: MB  fds");
  for (let line = 0; line <= LINES; line++) {
    const at = (samples: readonly Sample[]): Sample | undefined =>
      samples[Math.floor((line * (samples.length - 1)) / LINES)];
    const [server, agent] = [at(result.server), at(result.agent)];
    const cells = [server, agent].map(
      (one) => `${one?.residentMb.toFixed(0).padStart(10)} ${String(one?.descriptors).padStart(4)}`,
    );
    console.log(`${((server?.done ?? 0) * 100).toFixed(0).padStart(3)} % ${cells.join("  ")}`);
  }
  let grew = result.frames.emptyData > 0;
  console.log(
    `frames to clients ${result.frames.frames}, of them empty ${result.frames.emptyData}`,
  );
  for (const who of ["server", "agent"] as const) {
    const early = median(result[who], "residentMb", 0.2, 0.4);
    const late = median(result[who], "residentMb", 0.8, 1);
    const earlyFds = median(result[who], "descriptors", 0.2, 0.4);
    const lateFds = median(result[who], "descriptors", 0.8, 1);
    console.log(
      `${who}: memory ×${(late / early).toFixed(3)}, descriptors ${earlyFds} → ${lateFds}`,
    );
    grew ||= late / early > MAX_GROWTH || lateFds > earlyFds + MAX_MORE_DESCRIPTORS;
  }
  process.exitCode = grew ? 1 : 0;
} finally {
  await stage.close();
}
