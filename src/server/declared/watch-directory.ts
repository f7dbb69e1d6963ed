import { type FSWatcher, watch } from "node:fs";
import { lstat, realpath, stat } from "node:fs/promises";
import { basename, dirname, parse, resolve } from "node:path";

/**
 * Tells when something happens in a directory, or to a link on the way to it. It is a quick hint, no promise: some file systems tell
 * nothing, and a link behind a link is not watched. Whoever must not miss a change looks for himself now and then.
 */
export class DirectoryWatch {
  readonly #directory: string;
  readonly #noticed: () => void;
  #watchers: FSWatcher[] = [];
  #watched = "";
  #closed = false;

  constructor(directory: string, noticed: () => void) {
    this.#directory = resolve(directory);
    this.#noticed = noticed;
  }

  /** Watches what is there now; to be called again after each change, as other directories may be meant then. */
  async renew(): Promise<void> {
    const places = await placesOf(this.#directory);
    const wanted = JSON.stringify(places);
    if (wanted === this.#watched || this.#closed) return;
    this.#end();
    this.#watched = wanted;
    this.#watchers = places.flatMap((place) => this.#watch(place));
  }

  close(): void {
    this.#closed = true;
    this.#end();
  }

  #end(): void {
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers = [];
  }

  #watch({ directory, name }: Place): readonly FSWatcher[] {
    try {
      const watcher = watch(directory, { persistent: false }, (_event, what) => {
        if (name === undefined || what === null || what === name) this.#noticed();
      });
      // It is gone: what is there instead is looked for by the next renewal.
      watcher.on("error", () => {
        this.#watched = "";
        this.#noticed();
      });
      return [watcher];
    } catch {
      return [];
    }
  }
}

interface Place {
  readonly directory: string;
  /** What in it is of interest; undefined for all. */
  readonly name: string | undefined;
  /** Tells a directory from another one that took its name. */
  readonly inode: number;
}

/** The directory itself, without links; those that hold a link on the way to it; and the one above it, where it may come and go. */
async function placesOf(directory: string): Promise<readonly Place[]> {
  const above = [directory];
  const { root } = parse(directory);
  for (let path = dirname(directory); path !== root; path = dirname(path)) {
    if (await isLink(path)) above.push(path);
  }
  const places = above.map((path) => placeOf(dirname(path), basename(path)));
  const real = realpath(directory).then((path) => placeOf(path, undefined));
  const settled = await Promise.allSettled([...places, real]);
  return settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
}

async function placeOf(directory: string, name: string | undefined): Promise<Place> {
  const { ino: inode } = await stat(directory);
  return { directory, name, inode };
}

async function isLink(path: string): Promise<boolean> {
  return await lstat(path).then(
    (facts) => facts.isSymbolicLink(),
    () => false,
  );
}
