/**
 * Starts a program, ends it by SIGKILL at a random moment while it works, and tells what it had acknowledged by then.
 */
import { spawn } from "node:child_process";

export interface Victim {
  /** The program and its arguments. */
  readonly command: readonly string[];
  /** What a line of its standard output acknowledges; undefined when it acknowledges nothing. */
  readonly acknowledged: (line: string) => string | undefined;
  /** The kill comes at most that long after the first acknowledgement. */
  readonly withinMs: number;
  /** In [0, 1): where in that time. */
  readonly moment: number;
}

const FIRST_ACKNOWLEDGEMENT_MS = 20_000;

/**
 * @returns what was acknowledged, in order; a line cut short by the kill does not count
 * @throws Error when the program ends by itself or acknowledges nothing
 */
export async function killAtRandom(victim: Victim): Promise<string[]> {
  const [program = "", ...args] = victim.command;
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  const acknowledged: string[] = [];
  const kill = (): void => void child.kill("SIGKILL");
  let timer = setTimeout(kill, FIRST_ACKNOWLEDGEMENT_MS);
  const errors: string[] = [];
  child.stderr.setEncoding("utf8").on("data", (text: string) => errors.push(text));
  let unfinished = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const lines = (unfinished + text).split("\n");
    unfinished = lines.pop() ?? "";
    for (const line of lines) {
      const what = victim.acknowledged(line);
      if (what === undefined) continue;
      if (acknowledged.length === 0) {
        clearTimeout(timer);
        timer = setTimeout(kill, victim.moment * victim.withinMs);
      }
      acknowledged.push(what);
    }
  });
  const { promise, resolve, reject } = Promise.withResolvers<NodeJS.Signals | null>();
  child.on("error", reject);
  child.on("close", (_code, signal) => resolve(signal));
  const signal = await promise;
  clearTimeout(timer);
  if (signal !== "SIGKILL" || acknowledged.length === 0) {
    throw new Error(
      `${victim.command.join(" ")} did not work until it was killed: ${errors.join("")}`,
    );
  }
  return acknowledged;
}
