import { lchownSync, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Gives a file to the owner of the directory that it is in, if this process is root's: what root writes for a daemon must be that daemon's
 * to use. Others own what they write anyway.
 */
export function giveToOwnerOfDirectory(path: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(dirname(path));
  // Who owns the directory may have put a link there, which must not give him what root has elsewhere.
  lchownSync(path, uid, gid);
}
