/** What /proc says about a process: effective ids, supplementary groups, executable. Read again it shows whether the process changed. */
import { readFileSync } from "node:fs";
import { readlink, stat } from "node:fs/promises";
import { statusValues } from "#ffi/process-status.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

export interface ProcessStatus {
  /** Effective ids, which say what the process may do now. */
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** @throws StatusError when the process is gone or hidden from us */
export function readStatus(pid: number): ProcessStatus {
  const text = read(`/proc/${pid}/status`);
  // Real, effective, saved, file system.
  const [, uid] = numbersOf(text, "Uid");
  const [, gid] = numbersOf(text, "Gid");
  if (uid === undefined || gid === undefined)
    throw lookupFailed(`/proc/${pid}/status`, "it has no ids");
  return { uid, gid, groups: numbersOf(text, "Groups") };
}

function numbersOf(status: string, label: string): readonly number[] {
  return statusValues(status, label).map(Number);
}

export interface Executable {
  /** As the link says it, in the process's own mount namespace. */
  readonly path: string;
  /** Device, inode, size and times: the same text means the same file with the same content. */
  readonly version: string;
  /** Bytes. */
  readonly size: number;
}

/** @throws StatusError when the process is gone or hidden from us */
export async function readExecutable(pid: number): Promise<Executable> {
  const link = `/proc/${pid}/exe`;
  try {
    const path = await readlink(link);
    // Following the link opens the very file that runs, also after it was replaced or is in another mount namespace.
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(link, { bigint: true });
    return { path, version: [dev, ino, size, mtimeNs, ctimeNs].join("."), size: Number(size) };
  } catch (error) {
    throw lookupFailed(link, error);
  }
}

/** The kernel writes these files as they are read, from memory: handing that to another thread costs far more than doing it. */
function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    throw lookupFailed(path, error);
  }
}

function lookupFailed(path: string, cause: unknown): StatusError {
  const why = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
  return new StatusError(StatusCode.INTERNAL, `failed to read ${path}: ${why}`, { cause });
}
