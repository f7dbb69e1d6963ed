import {
  closeSync,
  constants,
  fchownSync,
  fstatSync,
  lstatSync,
  openSync,
  statSync,
} from "node:fs";
import { dirname } from "node:path";

/** Never waits for a pipe, and takes no link, that somebody put there. */
const OPEN = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;

/**
 * Gives a file to the owner of the directory that it is in, if this process is root's: what root writes for a daemon must be that daemon's
 * to use. Others own what they write anyway. Who owns the directory may have put something else there meanwhile: a link is left as it is, and so is
 * a file that has another name as well, which may be one that root has elsewhere.
 */
export function giveToOwnerOfDirectory(path: string): void {
  if (process.getuid?.() !== 0 || lstatSync(path).isSymbolicLink()) return;
  const { uid, gid } = statSync(dirname(path));
  const descriptor = openSync(path, OPEN);
  try {
    const { nlink, uid: owner } = fstatSync(descriptor);
    if (owner === uid) return;
    if (nlink > 1) throw new Error(`${path} has other names as well: who made them?`);
    fchownSync(descriptor, uid, gid);
  } finally {
    closeSync(descriptor);
  }
}
