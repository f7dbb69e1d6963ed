/** The selectors `path` and `sha256` of a process: each where it can be vouched for, and otherwise why it is not given. */
import type { PeerProcess } from "#attestors/attestor.ts";
import { errorText } from "#spiffe/status-error.ts";
import { Executable } from "./executable.ts";
import { addDigest, type DigestParts } from "./executable-digest.ts";
import { type Findings, NOT_OF_MACHINE } from "./findings.ts";
import { type Origin, originOf } from "./origin.ts";
import { isHiding } from "./process.ts";

const NOT_SEEN =
  "the agent may not see what the process runs: for processes of other users it needs CAP_SYS_PTRACE";
const NOT_AT_PATH =
  "the machine does not have this very file at the path that the process has it at: it sees another root directory, or the file system is not mounted any more";

/**
 * Adds the two selectors, or why they are not given.
 *
 * @returns the executable that they are of: the same text means the same file; undefined when it could not be seen
 * @throws the signal's reason, and nothing else
 */
export async function addExecutable(
  peer: PeerProcess,
  parts: DigestParts,
  findings: Findings,
  signal: AbortSignal,
): Promise<string | undefined> {
  let executable: Executable;
  try {
    executable = Executable.open(peer.pid);
  } catch (error) {
    addUnseen(error, parts, findings);
    return undefined;
  }
  const { file } = executable.status;
  try {
    const origin = await originOf(peer.pid, executable, signal);
    addPath(executable, origin, parts, findings);
    await addDigest({ ...parts, executable, origin, peer }, findings, signal);
  } catch (error) {
    signal.throwIfAborted();
    addUnseen(error, parts, findings);
  } finally {
    executable.close();
  }
  return file;
}

function addUnseen(error: unknown, { config }: DigestParts, findings: Findings): void {
  const isHidden = isHiding(error);
  const reason = isHidden ? NOT_SEEN : `what the process runs cannot be seen: ${errorText(error)}`;
  const names = config.workloadSizeLimit < 0 ? ["path"] : ["path", "sha256"];
  for (const name of names) findings.omit(name, reason, !isHidden);
}

function addPath(
  { path, formerPath, status }: Executable,
  origin: Origin,
  { config }: DigestParts,
  findings: Findings,
): void {
  const elsewhere = formerPath !== undefined && status.links === 0 ? formerPath : path;
  const given = origin.path ?? (config.discoverContainerPath ? elsewhere : undefined);
  if (given !== undefined) findings.give("path", given);
  else findings.omit("path", origin.isOfMachine ? NOT_AT_PATH : NOT_OF_MACHINE);
}
