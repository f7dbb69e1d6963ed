import { type FSWatcher, watch } from "node:fs";
import { lstat, realpath } from "node:fs/promises";
import { dirname, parse, resolve } from "node:path";

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
    const { places, inode } = await placesOf(this.#directory);
    // The inode tells a directory from another one that took its name.
    const wanted = [inode, ...places].join("\n");
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

  #watch(place: string): readonly FSWatcher[] {
    try {
      const watcher = watch(place, { persistent: false }, () => this.#noticed());
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

interface Places {
  readonly places: readonly string[];
  readonly inode: number;
}

/** The directory itself, without links; those that hold a link on the way to it; and the one above it, where it may come and go. */
async function placesOf(directory: string): Promise<Places> {
  const places = new Set<string>([dirname(directory)]);
  const { root } = parse(directory);
  for (let path = directory; path !== root; path = dirname(path)) {
    const isLink = await lstat(path).then(
      (facts) => facts.isSymbolicLink(),
      () => false,
    );
    if (isLink) places.add(dirname(path));
  }
  try {
    const real = await realpath(directory);
    places.add(real);
    return { places: [...places], inode: (await lstat(real)).ino };
  } catch {
    return { places: [...places], inode: 0 };
  }
}
