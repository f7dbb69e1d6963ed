/** What /proc says of the ids of a process. Read again it shows whether the process changed. */
import { readFileSync } from "node:fs";
import { isOwnProc } from "#ffi/own-proc.ts";
import { statusValues } from "#ffi/process-status.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

export interface ProcessStatus {
  /** Effective ids, which say what the process may do now. */
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** What a system call answers for what is not there, or not for us to see. */
const HIDDEN: ReadonlySet<unknown> = new Set(["ENOENT", "EACCES", "EPERM", "ESRCH"]);

/** Whether that is an answer, and no trouble of our own (too many open files, for instance). */
export function isHiding(error: unknown): boolean {
  return error instanceof Error && "code" in error && HIDDEN.has(error.code);
}

/**
 * @returns undefined when /proc does not show the process, as it is gone or hidden from us
 * @throws StatusError when it cannot be read for another reason
 */
export function readStatus(pid: number): ProcessStatus | undefined {
  const path = `/proc/${pid}/status`;
  const text = isOwnProc() ? read(path) : undefined;
  if (text === undefined) return undefined;
  // Real, effective, saved, file system.
  const [, uid] = numbersOf(text, "Uid");
  const [, gid] = numbersOf(text, "Gid");
  if (uid === undefined || gid === undefined) throw lookupFailed(path, "it has no ids");
  return { uid, gid, groups: numbersOf(text, "Groups") };
}

function numbersOf(status: string, label: string): readonly number[] {
  return statusValues(status, label).map(Number);
}

/** The kernel writes these files as they are read, from memory: handing that to another thread costs far more than doing it. */
function read(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    if (isHiding(error)) return undefined;
    throw lookupFailed(path, error);
  }
}

export function lookupFailed(path: string, cause: unknown): StatusError {
  const why = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
  return new StatusError(StatusCode.INTERNAL, `failed to read ${path}: ${why}`, { cause });
}
