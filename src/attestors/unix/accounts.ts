/**
 * Names of users and groups, from /etc/passwd and /etc/group. Directory services are left out on purpose: a lookup must neither
 * block nor leave the machine. A uid without a name simply has no `user` selector.
 */
import { statSync } from "node:fs";
import { readFile } from "node:fs/promises";

type Names = ReadonlyMap<number, string>;

interface Table {
  readonly version: string;
  readonly reading: Promise<Names>;
  /** As soon as they are read. */
  names?: Names;
}

/** Reads one of the two files, and again when it changed. */
export class AccountNames {
  readonly #path: string;
  #table: Table | undefined;

  /** @param path `/etc/passwd` or `/etc/group`: name first, number third, colons between */
  constructor(path: string) {
    this.#path = path;
  }

  /**
   * The names by number; none when there is no such file. Who asks while the file is read waits for the same reading.
   *
   * @throws Error when the file cannot be read, as nobody may lose his name by that
   */
  current(): Names | Promise<Names> {
    try {
      // At once: the file is asked for at each call and lies in memory, where another thread would take ten times as long.
      const { mtimeNs, ino, size } = statSync(this.#path, { bigint: true });
      const version = `${ino}.${size}.${mtimeNs}`;
      if (this.#table?.version !== version) this.#table = this.#read(version);
      return this.#table.names ?? this.#table.reading;
    } catch (error) {
      return this.#failed(error);
    }
  }

  #read(version: string): Table {
    const reading = readFile(this.#path, "utf8")
      .then(parse)
      .then(
        (names) => {
          table.names = names;
          return names;
        },
        (error: unknown) => this.#failed(error),
      );
    const table: Table = { version, reading };
    return table;
  }

  #failed(error: unknown): Names {
    this.#table = undefined;
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return new Map();
    throw error;
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
