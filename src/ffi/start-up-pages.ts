/**
 * Gives back what only the start needed: the pages of the executable's code that were read since. They are clean copies of the file, and
 * come back by a fault, from the page cache, when they are run again; until then the kernel may use the memory otherwise.
 */
import { readFileSync, readlinkSync } from "node:fs";
import { openLibc } from "./libc.ts";

/** madvise(2): what is mapped there is dropped, and read from the file again at the next access. */
const MADV_DONTNEED = 4;

/** Of the lines of /proc/self/maps (proc(5)) those that map code: executable, private, never written. */
const CODE = /^([0-9a-f]+)-([0-9a-f]+) r-xp [0-9a-f]+ \S+ \d+ +(\/.+)$/;

/** Does nothing where that cannot be done: it is a saving, not a need. */
export function releaseStartUpPages(): void {
  try {
    const { madvise } = openLibc({
      madvise: { args: ["usize", "usize", "i32"], returns: "i32" },
    });
    const executable = readlinkSync("/proc/self/exe");
    for (const line of readFileSync("/proc/self/maps", "utf8").split("\n")) {
      const [, from = "", to = "", path] = CODE.exec(line) ?? [];
      if (path !== executable) continue;
      const start = Number.parseInt(from, 16);
      madvise(start, Number.parseInt(to, 16) - start, MADV_DONTNEED);
    }
  } catch {
    // No C library, or no /proc: the pages stay.
  }
}
