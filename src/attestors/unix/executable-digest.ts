/** The selector `sha256`: of files that are not too large, are no holes, and have the same bytes for everybody. */
import type { PeerProcess } from "#attestors/attestor.ts";
import type { Clock } from "#clock/clock.ts";
import { errorText, StatusError } from "#spiffe/status-error.ts";
import type { ExecutableDigests } from "./digest.ts";
import type { Executable } from "./executable.ts";
import { type Findings, NOT_OF_MACHINE } from "./findings.ts";
import { accountOf, fileSystemOf, openMachine } from "./machine.ts";
import type { Origin } from "./origin.ts";
import { isHiding } from "./process.ts";

export interface ExecutableConfig {
  /** Bytes of an executable that is still hashed: 0 for any, below 0 for no `sha256` selector. */
  readonly workloadSizeLimit: number;
  /** Whether path and digest are given, too, where whoever made the process's namespaces may have arranged them. */
  readonly discoverContainerPath: boolean;
}

export interface DigestParts {
  readonly config: ExecutableConfig;
  readonly digests: ExecutableDigests;
  readonly clock: Clock;
}

interface Question extends DigestParts {
  readonly executable: Executable;
  readonly origin: Origin;
  readonly peer: PeerProcess;
}

/** Attestation as a whole waits 30 seconds: who is known by other selectors gets an answer before. */
const LONGEST_WAIT_MS = 20_000;
/** So much is read in any case. Of more, an eighth must be stored: no compression makes less of a program, but holes cost a user nothing. */
const UNQUESTIONED_BYTES = 64 * 1024 * 1024;
const MOST_FOR_STORED = 8;

const NOT_READABLE =
  "the agent may not read it: for files that only their owner may read it needs CAP_DAC_READ_SEARCH";

/** @throws the signal's reason, and nothing else */
export async function addDigest(
  question: Question,
  findings: Findings,
  signal: AbortSignal,
): Promise<void> {
  const { executable, origin, digests, config } = question;
  if (config.workloadSizeLimit < 0) return;
  const problem = sizeProblem(executable, config.workloadSizeLimit);
  if (problem !== undefined) return findings.omit("sha256", problem);
  const known = origin.isOfMachine ? digests.known(executable) : undefined;
  if (known !== undefined) return findings.give("sha256", known);
  try {
    const source = await sourceOf(origin, config);
    if (source.problem !== undefined) return findings.omit("sha256", source.problem);
    findings.give("sha256", await read(question, source.isKept, signal));
  } catch (error) {
    signal.throwIfAborted();
    const isForbidden = error instanceof StatusError && isHiding(error.cause);
    const why = isForbidden ? NOT_READABLE : errorText(error);
    findings.omit("sha256", `the executable was not read: ${why}`, !isForbidden);
  }
}

/** Why a file of that size is not read. */
function sizeProblem({ path, status }: Executable, limit: number): string | undefined {
  const { size, stored } = status;
  if (limit > 0 && size > limit) {
    return `workload ${path} is larger than workload_size_limit: ${size} > ${limit} bytes`;
  }
  if (size <= UNQUESTIONED_BYTES || size <= stored * MOST_FOR_STORED) return undefined;
  return `workload ${path} is mostly holes: of ${size} bytes ${stored} are stored`;
}

interface Source {
  /** Why the file is not read. */
  readonly problem?: string;
  /** Whether nothing but another version has other bytes. */
  readonly isKept: boolean;
}

async function sourceOf(origin: Origin, config: ExecutableConfig): Promise<Source> {
  const { isOfMachine, mount, seenBy } = origin;
  if (!(isOfMachine || config.discoverContainerPath)) {
    return { problem: NOT_OF_MACHINE, isKept: false };
  }
  const fileSystem = await fileSystemOf(mount, seenBy);
  if (fileSystem === undefined) {
    return {
      problem: "its file system is not mounted where the process can see it",
      isKept: false,
    };
  }
  const { type, options } = fileSystem;
  if (!/^fuse(blk)?$|^fuse\./.test(type)) return { isKept: isOfMachine };
  // In a user namespace, anybody's file systems are root's, of that namespace.
  if (isOfMachine && options.includes("user_id=0")) return { isKept: false };
  const problem =
    "its file system is a user's (FUSE), who may show the agent other bytes than he lets run";
  return { problem, isKept: false };
}

/** @throws Error when it cannot be read, or not before others wait too long */
async function read(
  { executable, peer, digests, clock }: Question,
  isKept: boolean,
  signal: AbortSignal,
): Promise<string> {
  const late = new AbortController();
  const timer = clock.after(LONGEST_WAIT_MS, () =>
    late.abort(new Error("it takes long; the next attempt goes on where this one was")),
  );
  try {
    const either = AbortSignal.any([signal, late.signal]);
    const question = { executable, account: account(peer), isKept };
    const digest = digests.of(question, either);
    // Thousands may wait for it, and have no use for their descriptors.
    executable.close();
    return await digest;
  } finally {
    timer.cancel();
  }
}

function account({ pid, uid }: PeerProcess): number {
  using machine = openMachine();
  return accountOf(`/proc/${pid}`, uid, machine);
}
