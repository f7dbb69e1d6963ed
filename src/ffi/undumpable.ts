/**
 * A process whose memory nobody of the same user can look into: no debugger, no /proc/PID/mem, no file of its memory after a crash. It holds
 * private keys, and other programs may run as its user. Root can still look, and the process itself.
 */
import { openLibc } from "./libc.ts";

const PR_SET_DUMPABLE = 4;

/** prctl(2); programs that it starts are not like that. Where it cannot be had, things are as they were. */
export function makeUndumpable(): void {
  const { prctl } = openLibc({
    prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
  });
  prctl(PR_SET_DUMPABLE, 0n, 0n, 0n, 0n);
}
