/**
 * Snapshots in a directory of a file system that is memory alone, for agents that systemd does not run. Anything that may be a disk is
 * refused: workload keys must not reach one.
 */
import { lstat, mkdir, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { removeDrafts, writeFileAtomically } from "#files/atomic-write.ts";
import { readBounded } from "#files/read-bounded.ts";
import { errorText } from "#spiffe/status-error.ts";
import { MAX_SNAPSHOT_BYTES, type SnapshotStore } from "./snapshot-store.ts";

/** statfs(2), by f_type. */
const MEMORY_FILE_SYSTEMS: readonly number[] = [0x01021994 /* tmpfs */, 0x858458f6 /* ramfs */];
const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;

export class DirectorySnapshots implements SnapshotStore {
  readonly place: string;
  readonly #file: string;

  private constructor(directory: string) {
    this.place = directory;
    this.#file = join(directory, "workload-cache");
  }

  /** Makes the directory if its parent is there. @throws Error with a message for the operator */
  static async open(directory: string): Promise<DirectorySnapshots> {
    try {
      await mkdir(directory, { mode: DIRECTORY_MODE }).catch(unlessCode("EEXIST"));
      await check(directory);
      const snapshots = new DirectorySnapshots(directory);
      await removeDrafts(snapshots.#file);
      return snapshots;
    } catch (error) {
      throw new Error(`offline_cache_directory ${directory}: ${errorText(error)}`);
    }
  }

  async load(): Promise<readonly Uint8Array[]> {
    const snapshot = await readBounded(this.#file, MAX_SNAPSHOT_BYTES, "refused").catch(
      unlessCode("ENOENT"),
    );
    return snapshot === undefined ? [] : [snapshot];
  }

  async replace(snapshot: Uint8Array): Promise<void> {
    await writeFileAtomically(this.#file, snapshot, FILE_MODE);
  }

  async clear(): Promise<void> {
    await rm(this.#file, { force: true });
  }
}

async function check(directory: string): Promise<void> {
  const found = await lstat(directory);
  if (!found.isDirectory()) throw new Error("it is not a directory");
  const { type } = await statfs(directory);
  if (!MEMORY_FILE_SYSTEMS.includes(type)) {
    throw new Error(
      "it is not on a tmpfs or ramfs, and workload keys must not reach a disk; choose one below /run, or remove the key",
    );
  }
  if (found.uid !== process.geteuid?.() || (found.mode & 0o077) !== 0) {
    throw new Error("it must belong to the agent's user alone: chown it, and chmod it to 0700");
  }
}

function unlessCode(code: string): (error: NodeJS.ErrnoException) => undefined {
  return (error) => {
    if (error.code !== code) throw error;
  };
}
