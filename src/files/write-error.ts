/** Words for the operator when something could not be written: which file, why, and the way out. */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";

/** Less than the next change of a database or a key file needs. */
const AS_GOOD_AS_NOTHING_BYTES = 64 * 1024;
const FULL: readonly unknown[] = ["ENOSPC", "EDQUOT", "SQLITE_FULL"];

/** The way out of a failed write, to end its message with; empty when the file system is not why it failed. */
export function wayOut(path: string, error: unknown): string {
  const directory = dirname(path);
  const { code } = error as { code?: unknown };
  if (code === "EROFS") return `; ${readOnlyText(directory)}`;
  return FULL.includes(code) || isAsGoodAsFull(directory) ? `; ${fullText(directory)}` : "";
}

/** The error of a write to the path, with all that an operator needs; a caller that asked for the write is told as much. */
export function writeError(path: string, error: unknown): StatusError {
  const message = `cannot write ${path}: ${errorText(error)}${wayOut(path, error)}`;
  return new StatusError(StatusCode.INTERNAL, message, { cause: error });
}

export function readOnlyText(directory: string): string {
  return `the file system of ${directory} is read-only: the kernel's log (dmesg) may say why; make it writable again`;
}

export function fullText(directory: string): string {
  return `the file system of ${directory} is full: free space on it`;
}

/** Whether there is too little room for any change. */
export function isAsGoodAsFull(directory: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize < AS_GOOD_AS_NOTHING_BYTES;
  } catch {
    return false;
  }
}
