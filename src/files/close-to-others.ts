import { closeSync, constants, fchmodSync, fstatSync, openSync } from "node:fs";

/** Never waits for a pipe that somebody put there. */
const OPEN = constants.O_RDONLY | constants.O_NONBLOCK;

/**
 * Has only its owner read and write a file, whatever stands at its path by the time the mode is set: mode and look are of one descriptor.
 *
 * @returns the mode that it had, when that was looser
 * @throws the file system's error
 */
export function closeToOthers(path: string): number | undefined {
  const descriptor = openSync(path, OPEN);
  try {
    const facts = fstatSync(descriptor);
    const mode = facts.mode & 0o777;
    if (!facts.isFile() || (mode & 0o077) === 0) return undefined;
    fchmodSync(descriptor, 0o600);
    return mode;
  } finally {
    closeSync(descriptor);
  }
}
