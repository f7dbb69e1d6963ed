/** Checks of what the agent's process may see. */
import { readFileSync } from "node:fs";
import { type Finding, fail, ok } from "#cli/doctor/finding.ts";
import { statusValues } from "#ffi/process-status.ts";

/** The bit of CAP_SYS_PTRACE, with which a process sees what programs others run. */
const CAP_SYS_PTRACE = 1n << 19n;

/** @param pid the agent's @returns /proc/PID/status; undefined when there is no such process */
export function statusOf(pid: number | undefined): string | undefined {
  try {
    return pid === undefined ? undefined : readFileSync(`/proc/${pid}/status`, "latin1");
  } catch {
    return undefined;
  }
}

/**
 * Whether the agent can see the programs of other users, which the selectors `unix:path` and `unix:sha256` need.
 *
 * @param status of the agent's process, as the kernel prints it
 */
export function checkSight(status: string, needsPaths: boolean): Finding {
  const check = "processes";
  const [capabilities = "0"] = statusValues(status, "CapEff");
  const sees = (BigInt(`0x${capabilities}`) & CAP_SYS_PTRACE) !== 0n;
  if (sees || !needsPaths) {
    const what = sees
      ? "sees what programs all users run"
      : "need not see what programs others run";
    return ok(check, `the agent ${what}`);
  }
  return fail(
    check,
    `the agent, of user ${statusValues(status, "Uid")[1]}, may not see what programs other users run, so their processes have neither unix:path nor unix:sha256`,
    "give its unit AmbientCapabilities=CAP_SYS_PTRACE, or do without discover_workload_path",
  );
}
