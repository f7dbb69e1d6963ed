/** Checks of the daemon's process, found by the lock on its data directory. */
import { readFileSync, readlinkSync } from "node:fs";
import { type Finding, warn } from "./finding.ts";

/** The process that holds a lock file; undefined when none has ever. It may have ended, and its pid be another's. */
export function holderOf(lockFile: string): number | undefined {
  try {
    return Number(readFileSync(lockFile, "latin1")) || undefined;
  } catch {
    return undefined;
  }
}

/** What a process runs from, as the kernel says it; undefined when that cannot be seen. */
export function programOf(pid: number | undefined): string | undefined {
  try {
    return pid === undefined ? undefined : readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return undefined;
  }
}

/**
 * Whether the executable that runs was replaced on disk, as by an upgrade, and not started anew.
 *
 * @param name of the executable, as the pid may be another's by now
 * @param program as `programOf` gives it
 */
export function checkExecutable(name: string, program: string | undefined): readonly Finding[] {
  if (program?.endsWith(`/${name} (deleted)`) !== true) return [];
  return [
    warn(
      "executable",
      `${name} runs from a file that was replaced since it was started`,
      "restart it, so that it runs the program that is installed",
    ),
  ];
}
