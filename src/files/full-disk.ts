/** Words for the operator when something could not be written: which file, why, and the way out. */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import { errorText } from "#spiffe/status-error.ts";

/** Less than the next change of a database or a key file needs. */
const AS_GOOD_AS_NOTHING_BYTES = 64 * 1024;
const CODES: readonly unknown[] = ["ENOSPC", "EDQUOT", "SQLITE_FULL"];

/** The way out of a failed write, to end its message with; empty when the disk is not why it failed. */
export function fullDiskHint(path: string, error: unknown): string {
  const directory = dirname(path);
  const isFull = CODES.includes((error as { code?: unknown }).code) || isAsGoodAsFull(directory);
  return isFull ? `; the file system of ${directory} is full: free space on it` : "";
}

/** The error of a write to the path, with all that an operator needs. */
export function writeError(path: string, error: unknown): Error {
  const message = `cannot write ${path}: ${errorText(error)}${fullDiskHint(path, error)}`;
  return new Error(message, { cause: error });
}

function isAsGoodAsFull(directory: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize < AS_GOOD_AS_NOTHING_BYTES;
  } catch {
    return false;
  }
}
