/**
 * WorkloadAttestor `unix`: names a process by what the kernel knows of it, never by what it says. A process that ends or changes while
 * it is looked at gets nothing. Called by the agent's workload attestation.
 */
import { isDeepStrictEqual } from "node:util";
import type { PeerProcess, WorkloadAttestor } from "#attestors/attestor.ts";
import type { Clock } from "#clock/clock.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { AccountNames } from "./accounts.ts";
import { ExecutableDigests } from "./digest.ts";
import { Executable } from "./executable.ts";
import type { ExecutableConfig } from "./executable-digest.ts";
import { addExecutable } from "./executable-selectors.ts";
import { Findings } from "./findings.ts";
import { type ProcessStatus, readStatus } from "./process.ts";

export interface UnixWorkloadAttestorConfig extends ExecutableConfig {
  readonly discoverWorkloadPath: boolean;
}

const HIDDEN =
  "/proc does not show the process to the agent: it runs without CAP_SYS_PTRACE where /proc hides the processes of others (hidepid), or /proc is of another pid namespace";

export function createUnixWorkloadAttestor(
  config: UnixWorkloadAttestorConfig,
  clock: Clock,
): WorkloadAttestor {
  const users = new AccountNames("/etc/passwd");
  const groups = new AccountNames("/etc/group");
  const parts = { config, clock, digests: new ExecutableDigests(clock) };

  const addIds = async ({ uid, gid, groups: others }: ProcessStatus, findings: Findings) => {
    const [ofUsers, ofGroups] = [users.current(), groups.current()];
    const [userNames, groupNames] =
      ofUsers instanceof Map && ofGroups instanceof Map
        ? [ofUsers, ofGroups]
        : await Promise.all([ofUsers, ofGroups]);
    findings.give("uid", uid);
    const user = userNames.get(uid);
    if (user !== undefined) findings.give("user", user);
    findings.give("gid", gid);
    const group = groupNames.get(gid);
    if (group !== undefined) findings.give("group", group);
    for (const other of others) {
      findings.give("supplementary_gid", other);
      const name = groupNames.get(other);
      if (name !== undefined) findings.give("supplementary_group", name);
    }
  };

  /** What the kernel said when the process connected is known also where /proc hides it, and is all that is known then. */
  const attestHidden = async ({ uid, gid }: PeerProcess, findings: Findings): Promise<void> => {
    await addIds({ uid, gid, groups: [] }, findings);
    for (const name of ["supplementary_gid", "supplementary_group"]) findings.omit(name, HIDDEN);
    if (!config.discoverWorkloadPath) return;
    for (const name of ["path", "sha256"]) findings.omit(name, HIDDEN);
  };

  const attestVisible = async (
    peer: PeerProcess,
    status: ProcessStatus,
    findings: Findings,
    signal: AbortSignal,
  ): Promise<void> => {
    refuseOtherIds(peer, status);
    await addIds(status, findings);
    if (!config.discoverWorkloadPath) return;
    const file = await addExecutable(peer, parts, findings, signal);
    // A process that runs another program by now may have had the ids of the one, and have the path of the other.
    if (!isDeepStrictEqual(readStatus(peer.pid), status)) throw changed();
    if (file !== undefined && fileOf(peer.pid) !== file) throw changed();
  };

  return {
    type: "unix",
    attest: async (peer, signal) => {
      const findings = new Findings();
      const status = readStatus(peer.pid);
      if (status === undefined) await attestHidden(peer, findings);
      else await attestVisible(peer, status, findings, signal);
      if (!peer.isAlive()) throw changed();
      return findings;
    },
  };
}

/** The file that the process runs; undefined when it is gone. */
function fileOf(pid: number): string | undefined {
  try {
    const executable = Executable.open(pid);
    executable.close();
    return executable.status.file;
  } catch {
    return undefined;
  }
}

/**
 * Whoever connects can hand the socket to a child and then run a set-user-ID program in its own place: the process is the same, and has
 * the ids of others. Root could have had them before.
 */
function refuseOtherIds(peer: PeerProcess, { uid, gid }: ProcessStatus): void {
  if (peer.uid === 0 || (peer.uid === uid && peer.gid === gid)) return;
  throw new StatusError(
    StatusCode.PERMISSION_DENIED,
    `the process had uid ${peer.uid} and gid ${peer.gid} when it connected, and has ${uid} and ${gid} now: it must connect again`,
  );
}

function changed(): StatusError {
  return new StatusError(
    StatusCode.UNAVAILABLE,
    "the process ended or changed while it was attested",
  );
}
