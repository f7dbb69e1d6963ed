/**
 * WorkloadAttestor `unix`: names a process by what the kernel knows of it, never by what it says. A process that ends or changes while
 * it is looked at gets nothing. Called by the agent's workload attestation.
 */
import { isDeepStrictEqual } from "node:util";
import type { PeerProcess, WorkloadAttestor } from "#attestors/attestor.ts";
import type { Selector } from "#spiffe/selector.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { AccountNames } from "./accounts.ts";
import { ExecutableDigests } from "./digest.ts";
import { type Executable, type ProcessStatus, readExecutable, readStatus } from "./process.ts";

export interface UnixWorkloadAttestorConfig {
  readonly discoverWorkloadPath: boolean;
  /** Bytes: 0 for no limit, below 0 for no `sha256` selector. */
  readonly workloadSizeLimit: number;
}

export function createUnixWorkloadAttestor(config: UnixWorkloadAttestorConfig): WorkloadAttestor {
  const users = new AccountNames("/etc/passwd");
  const groups = new AccountNames("/etc/group");
  const digests = new ExecutableDigests();

  const identitySelectors = async (status: ProcessStatus): Promise<Selector[]> => {
    const [userNames, groupNames] = await Promise.all([users.current(), groups.current()]);
    const selectors = [selector("uid", status.uid)];
    const user = userNames.get(status.uid);
    if (user !== undefined) selectors.push(selector("user", user));
    selectors.push(selector("gid", status.gid));
    const group = groupNames.get(status.gid);
    if (group !== undefined) selectors.push(selector("group", group));
    for (const gid of status.groups) {
      selectors.push(selector("supplementary_gid", gid));
      const name = groupNames.get(gid);
      if (name !== undefined) selectors.push(selector("supplementary_group", name));
    }
    return selectors;
  };

  const pathSelectors = async (pid: number, executable: Executable): Promise<Selector[]> => {
    const selectors = [selector("path", executable.path)];
    if (config.workloadSizeLimit >= 0) {
      const digest = await digests.of(pid, executable, config.workloadSizeLimit);
      selectors.push(selector("sha256", digest));
    }
    return selectors;
  };

  return {
    type: "unix",
    attest: async (peer) => {
      const status = readStatus(peer.pid);
      refuseOtherIds(peer, status);
      const selectors = await identitySelectors(status);
      if (config.discoverWorkloadPath) {
        const executable = await readExecutable(peer.pid);
        selectors.push(...(await pathSelectors(peer.pid, executable)));
        // A process that runs another program by now may have had the ids of the one, and have the path of the other.
        const after = { status: readStatus(peer.pid), executable: await readExecutable(peer.pid) };
        if (!isDeepStrictEqual(after, { status, executable })) throw changed();
      }
      if (!peer.isAlive()) throw changed();
      return selectors;
    },
  };
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

function selector(name: string, value: string | number): Selector {
  return { type: "unix", value: `${name}:${value}` };
}
