/**
 * Files that must survive a power cut, and directories only we may enter. Callers: KeyManager, the agent's stored state, commands
 * that write keys.
 */
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Replaces a file so that a reader, or the next start after a power cut, finds the old content or the new, never a mixture: written
 * beside it, synced, renamed over it, and the rename synced as well.
 *
 * @param mode permission bits of the new file, for instance 0o600
 * @throws the file system's error, for instance when the disk is full; the old file is then untouched
 */
export async function writeFileAtomically(
  path: string,
  data: string | Uint8Array,
  mode: number,
): Promise<void> {
  const fresh = `${path}.${process.pid}.new`;
  try {
    await rm(fresh, { force: true });
    // `wx`: whatever else appears under that name meanwhile, a planted link included, is not written through.
    const file = await open(fresh, "wx", mode);
    try {
      await file.chmod(mode);
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, path);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

/** Makes the directory and its parents if they are missing; those it makes get the mode. */
export async function ensureDirectory(path: string, mode: number): Promise<void> {
  await mkdir(path, { recursive: true, mode });
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
