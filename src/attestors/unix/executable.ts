/**
 * The executable of a process, opened once: the path, the version and the bytes are those of one file, whatever the process runs meanwhile.
 */
import { closeSync, openSync, readlinkSync } from "node:fs";
import { type FileStatus, O_PATH, statusOf } from "./kernel.ts";

/** What the kernel writes behind the name of a file that is not there any more. */
const DELETED = " (deleted)";

/** A descriptor that several hold. */
interface Held {
  readonly descriptor: number;
  holders: number;
}

export class Executable {
  /** As the kernel has it: from the top of the mount namespace, links resolved. */
  readonly path: string;
  /** The same, of a file that was deleted or replaced while it runs: where it was. Files may also be named like that. */
  readonly formerPath: string | undefined;
  readonly status: FileStatus;
  #held: Held | undefined;

  private constructor(held: Held, path: string, status: FileStatus) {
    held.holders++;
    this.#held = held;
    this.path = path;
    this.formerPath = path.endsWith(DELETED) ? path.slice(0, -DELETED.length) : undefined;
    this.status = status;
  }

  /** @throws Error, with the code of the system call that failed, when the process is gone or hidden from us */
  static open(pid: number): Executable {
    // Following the link opens the very file that runs, also after it was replaced or is in another mount namespace.
    const descriptor = openSync(`/proc/${pid}/exe`, O_PATH);
    try {
      const bytes = readlinkSync(linkTo(descriptor), { encoding: "buffer" });
      const path = bytes.toString();
      // Two names that are no UTF-8 could become the same text.
      if (!Buffer.from(path).equals(bytes)) throw new Error("its path is not UTF-8");
      return new Executable({ descriptor, holders: 0 }, path, statusOf(descriptor));
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  }

  /** Where the same file can be opened again, as long as this is open. */
  get link(): string {
    if (this.#held === undefined) throw new Error("the executable is closed");
    return linkTo(this.#held.descriptor);
  }

  /** The same for somebody else, who closes it on his own. */
  share(): Executable {
    if (this.#held === undefined) throw new Error("the executable is closed");
    return new Executable(this.#held, this.path, this.status);
  }

  /** Once is enough. */
  close(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined && --held.holders === 0) closeSync(held.descriptor);
  }
}

function linkTo(descriptor: number): string {
  return `/proc/self/fd/${descriptor}`;
}
