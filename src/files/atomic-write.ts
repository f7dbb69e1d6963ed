/**
 * Files that must survive a power cut. Never deletes anything but its own drafts. Callers: KeyManager, the agent's stored state,
 * commands that write keys.
 */
import { open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

let drafts = 0;
/** How a draft's name goes on after that of its file; a database that is a draft may have its journal beside it. */
const DRAFT = /^\d+-\w+\.new(-journal)?$/;

/**
 * Replaces a file so that a reader, or the next start after a power cut, finds the old content or the new, never a mixture: written
 * beside it, synced, renamed over it, and the rename synced as well.
 *
 * @param data pieces are written as they come; if they end in an error, so does the write
 * @param mode permission bits of the new file, for instance 0o600
 * @throws the file system's error, for instance when the disk is full; the old file is then untouched
 */
export async function writeFileAtomically(
  path: string,
  data: string | Uint8Array | AsyncIterable<Uint8Array>,
  mode: number,
): Promise<void> {
  const draft = `${path}.${process.pid}-${drafts++}.new`;
  try {
    // `wx`: whatever appears under that name meanwhile, a planted link included, is not written through.
    const file = await open(draft, "wx", mode);
    try {
      // The umask may have taken bits away.
      await file.chmod(mode);
      for await (const piece of piecesOf(data)) await file.writeFile(piece);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

function piecesOf(
  data: string | Uint8Array | AsyncIterable<Uint8Array>,
): readonly (string | Uint8Array)[] | AsyncIterable<Uint8Array> {
  return typeof data === "string" || data instanceof Uint8Array ? [data] : data;
}

/**
 * Deletes the drafts that a killed process left beside the file, since they may hold secrets. Only for a file that no other
 * process writes now.
 */
export async function removeDrafts(path: string): Promise<void> {
  const directory = dirname(path);
  const prefix = `${basename(path)}.`;
  for (const name of await readdir(directory)) {
    const isDraft = name.startsWith(prefix) && DRAFT.test(name.slice(prefix.length));
    if (isDraft) await rm(join(directory, name), { force: true });
  }
}

/** Makes sure that the names in a directory are what they are now also after a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
