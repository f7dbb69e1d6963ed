import { closeSync, openSync, readFileSync, readSync, writeSync } from "node:fs";

/** Fields 48 and 49 of /proc/PID/stat, counted behind the name of the program, which is field 2. */
const ARG_START = 45;
const ARG_END = 46;

/**
 * Overwrites a secret that stood on this process's command line, so that lists of processes do not show it from now on. It was there to be
 * seen since the process began, and stays in the lists of shells and of programs that started this one: a help, not a protection. Where
 * the system does not allow it, nothing happens.
 */
export function hideArgument(secret: string): void {
  if (secret === "") return;
  try {
    const stat = readFileSync("/proc/self/stat", "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    overwrite(Buffer.from(secret), Number(fields[ARG_START]), Number(fields[ARG_END]));
  } catch {
    // The secret is as visible as it was.
  }
}

/** Through the file and not by address: a wrong place is an error then, not a crash. */
function overwrite(secret: Buffer, start: number, end: number): void {
  const memory = openSync("/proc/self/mem", "r+");
  try {
    const words = Buffer.alloc(end - start);
    readSync(memory, words, 0, words.length, start);
    for (
      let at = words.indexOf(secret);
      at !== -1;
      at = words.indexOf(secret, at + secret.length)
    ) {
      writeSync(memory, Buffer.alloc(secret.length, "x"), 0, secret.length, start + at);
    }
  } finally {
    closeSync(memory);
  }
}
