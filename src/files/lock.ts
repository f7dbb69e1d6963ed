/**
 * A lock file against a second process on the same data. The kernel holds it (flock), so it ends with its holder however that ends.
 */
import { closeSync, constants, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { errno, openLibc } from "#ffi/libc.ts";
import { writeError } from "./write-error.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;
const EWOULDBLOCK = 11;
/** As "a+", but a link is not followed: root locks in directories of others, and what it leads to would be emptied. */
const OPEN = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;

export interface FileLock {
  /** Lets go before the process ends. */
  release(): void;
}

/** Another process holds the lock; the message names the file and, where known, the holder. */
export class LockedError extends Error {
  override readonly name: string = "LockedError";
}

/** 0, or the error number. */
let flock: ((fd: number, operation: number) => number) | undefined;

/**
 * Takes the lock at once or not at all. The file stays behind; only the lock on it counts.
 *
 * @param path the lock file, created with mode 0600 if missing
 * @throws LockedError when another process holds it
 */
export function lockFile(path: string): FileLock {
  flock ??= loadFlock();
  const fd = open(path);
  const problem = flock(fd, LOCK_EX | LOCK_NB);
  if (problem !== 0) {
    closeSync(fd);
    throw problem === EWOULDBLOCK
      ? heldBy(path)
      : new Error(`${path} cannot be locked (error ${problem}); does its file system know locks?`);
  }
  writePid(fd);
  return { release: () => closeSync(fd) };
}

/** @throws Error naming the file, and the way out where the file system takes no changes */
function open(path: string): number {
  try {
    return openSync(path, OPEN, 0o600);
  } catch (error) {
    throw writeError(path, error);
  }
}

/** On a disk that is full the lock holds all the same; it is just not known by whom. */
function writePid(fd: number): void {
  try {
    ftruncateSync(fd, 0);
    writeSync(fd, `${process.pid}\n`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
  }
}

function heldBy(path: string): LockedError {
  const holder = readFileSync(path, "latin1").trim();
  const who = /^\d+$/.test(holder) ? `process ${holder}` : "another process";
  return new LockedError(
    `${path} is locked by ${who}; stop that one first, or use another data directory`,
  );
}

function loadFlock(): (fd: number, operation: number) => number {
  const libc = openLibc({ flock: { args: ["i32", "i32"], returns: "i32" } });
  return (fd, operation) => (libc.flock(fd, operation) === 0 ? 0 : errno());
}
