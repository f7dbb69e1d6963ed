/**
 * Several files that belong together, replaced all at once. They lie in a directory of their own, to which the link `..data` points; the
 * names that programs use are links through it. Turning `..data` to a new directory is one rename, so whoever follows it once finds files
 * of one set, and a power cut leaves the old set or the new one. Callers: the writer of SVID files.
 */
import { constants } from "node:fs";
import {
  lstat,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
} from "node:fs/promises";
import { basename, join } from "node:path";
import { makeSafeDirectory } from "./safe-path.ts";

export interface SetFile {
  readonly name: string;
  readonly data: string | Uint8Array;
  /** Permission bits, for instance 0o600. */
  readonly mode: number;
  /** Whether other bytes say the same; where it is missing, only the same bytes do. */
  isSame?(data: Buffer): boolean;
}

/** Whose the files are to be; what is absent stays with this process. */
export interface Owner {
  readonly uid?: number;
  readonly gid?: number;
}

const CURRENT = "..data";
const DRAFT = "..link.new";
const ANNOUNCED = "..announced";
/** Names of our directories; a part behind it is random. */
const VERSION = "..set-";
const OPEN_DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

export class FileSet {
  readonly #directory: string;
  readonly #owner: Owner;

  private constructor(directory: string, owner: Owner) {
    this.#directory = directory;
    this.#owner = owner;
  }

  /**
   * Makes the directory where it is missing, and removes what a killed process left half done. No other process may write sets there.
   *
   * @throws Error when somebody else could put another file in the place of one of ours
   */
  static async open(path: string, owner: Owner): Promise<FileSet> {
    // Readers of the files come by the directories made here.
    const { path: real } = makeSafeDirectory(path, 0o755, { sticky: "refused" });
    const set = new FileSet(real, owner);
    await set.#sweep([await set.#current()]);
    return set;
  }

  /**
   * Puts these files in place of those that are there; readers find all of the old ones or all of the new ones.
   *
   * @returns the names of the files that are new, different or gone; none when all were there as they are to be
   * @throws the file system's error; the old files are then untouched
   */
  async replace(files: readonly SetFile[]): Promise<readonly string[]> {
    const before = await this.#current();
    const different = await this.#differences(before, files);
    if (different.length === 0) {
      await this.#link(files);
      return different;
    }
    const version = await mkdtemp(join(this.#directory, VERSION));
    try {
      for (const file of files) await this.#write(version, file);
      await syncDirectory(version, 0o755);
      await this.#turn(CURRENT, basename(version));
    } catch (error) {
      await rm(version, { recursive: true, force: true });
      throw error;
    }
    await this.#link(files);
    await syncDirectory(this.#directory);
    // Whoever is reading the set before this one may finish.
    await this.#sweep([await this.#current(), before]);
    return different;
  }

  /** Whether those who use the current set know of it: also when the process that replaced it was killed before it could tell them. */
  async isAnnounced(): Promise<boolean> {
    const current = await this.#current();
    const announced = await readlink(join(this.#directory, ANNOUNCED)).catch(() => undefined);
    return current !== undefined && announced === current;
  }

  /** All who use the current set know of it. @throws the file system's error */
  async announced(): Promise<void> {
    const current = await this.#current();
    if (current !== undefined && !(await this.isAnnounced())) {
      await this.#turn(ANNOUNCED, current);
    }
  }

  /** The name of the directory in use. */
  async #current(): Promise<string | undefined> {
    const name = await readlink(join(this.#directory, CURRENT)).catch(() => undefined);
    return name !== undefined && isVersion(name) ? name : undefined;
  }

  async #differences(version: string | undefined, files: readonly SetFile[]): Promise<string[]> {
    if (version === undefined) return files.map(({ name }) => name);
    const directory = join(this.#directory, version);
    const gone = new Set(await readdir(directory));
    const different: string[] = [];
    for (const file of files) {
      gone.delete(file.name);
      if (!(await this.#isThere(join(directory, file.name), file))) different.push(file.name);
    }
    return [...different, ...gone];
  }

  async #isThere(path: string, { data, mode, isSame }: SetFile): Promise<boolean> {
    try {
      const { uid, gid, mode: found } = await lstat(path);
      const { uid: wantedUid = uid, gid: wantedGid = gid } = this.#owner;
      if ((found & 0o777) !== mode || uid !== wantedUid || gid !== wantedGid) return false;
      const there = await readFile(path);
      return isSame?.(there) ?? there.equals(Buffer.from(data));
    } catch {
      return false;
    }
  }

  async #write(version: string, { name, data, mode }: SetFile): Promise<void> {
    const file = await open(join(version, name), "wx", 0o600);
    try {
      const { uid, gid } = this.#owner;
      // Before it is given away, which takes one capability less; there is nothing in it yet for the wrong group to read.
      await file.chmod(mode);
      if (uid !== undefined || gid !== undefined) await file.chown(uid ?? -1, gid ?? -1);
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Has each name lead to the current set, and takes away those that lead to no file of it. */
  async #link(files: readonly SetFile[]): Promise<void> {
    for (const { name } of files) {
      const path = join(this.#directory, name);
      const target = join(CURRENT, name);
      if ((await readlink(path).catch(() => undefined)) === target) continue;
      await this.#turn(name, target);
    }
    const names = new Set(files.map(({ name }) => name));
    for (const name of await readdir(this.#directory)) {
      const path = join(this.#directory, name);
      const target = await readlink(path).catch(() => undefined);
      if (target === join(CURRENT, name) && !names.has(name)) await rm(path, { force: true });
    }
  }

  /** Has a link lead elsewhere, from one moment to the next. */
  async #turn(name: string, target: string): Promise<void> {
    const draft = join(this.#directory, DRAFT);
    await rm(draft, { force: true });
    await symlink(target, draft);
    await rename(draft, join(this.#directory, name));
  }

  async #sweep(kept: readonly (string | undefined)[]): Promise<void> {
    for (const name of await readdir(this.#directory)) {
      if (!isVersion(name) || kept.includes(name)) continue;
      await rm(join(this.#directory, name), { recursive: true, force: true });
    }
  }
}

function isVersion(name: string): boolean {
  return name.startsWith(VERSION) && !name.includes("/");
}

/** @param mode permission bits that it gets before */
async function syncDirectory(path: string, mode?: number): Promise<void> {
  const directory = await open(path, OPEN_DIRECTORY);
  try {
    if (mode !== undefined) await directory.chmod(mode);
    await directory.sync();
  } finally {
    await directory.close();
  }
}
