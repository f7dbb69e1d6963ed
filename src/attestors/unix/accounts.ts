/**
 * Names of users and groups, from /etc/passwd and /etc/group. Directory services are left out on purpose: a lookup must neither
 * block nor leave the machine. A uid without a name simply has no `user` selector.
 */
import { readFile, stat } from "node:fs/promises";

type Names = ReadonlyMap<number, string>;

interface Table {
  readonly version: string;
  readonly names: Names;
}

/** Reads one of the two files, and again when it changed. */
export class AccountNames {
  readonly #path: string;
  #table: Table | undefined;
  #looking: Promise<Names> | undefined;

  /** @param path `/etc/passwd` or `/etc/group`: name first, number third, colons between */
  constructor(path: string) {
    this.#path = path;
  }

  /** The names by number; none when the file cannot be read. Who asks while somebody else's look is under way shares it. */
  current(): Promise<Names> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<Names> {
    try {
      const { mtimeNs, ino, size } = await stat(this.#path, { bigint: true });
      const version = `${ino}.${size}.${mtimeNs}`;
      if (this.#table?.version !== version) {
        this.#table = { version, names: parse(await readFile(this.#path, "utf8")) };
      }
      return this.#table.names;
    } catch {
      return new Map();
    }
  }
}

function parse(text: string): Names {
  const names = new Map<number, string>();
  for (const line of text.split("\n")) {
    const [name, , id] = line.split(":");
    // The first line of a number counts, as in the C library.
    if (name && id && /^\d+$/.test(id) && !names.has(Number(id))) names.set(Number(id), name);
  }
  return names;
}
