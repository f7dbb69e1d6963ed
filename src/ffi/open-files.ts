import { readFileSync } from "node:fs";

/** How many descriptors this process may have (getrlimit(2), RLIMIT_NOFILE); infinity where that cannot be read. */
export function openFilesLimit(): number {
  try {
    const limits = readFileSync("/proc/self/limits", "latin1");
    return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
