import { readlinkSync } from "node:fs";

let isOurs: boolean | undefined;

/**
 * Whether /proc shows the pid namespace that we are in. One of another namespace, a host's in a container for instance, has other processes
 * under the numbers that the kernel gives us for our callers.
 */
export function isOwnProc(): boolean {
  isOurs ??= ownNumber() === String(process.pid);
  return isOurs;
}

/** @returns undefined where there is no /proc, or none that knows us */
function ownNumber(): string | undefined {
  try {
    return readlinkSync("/proc/self");
  } catch {
    return undefined;
  }
}
