import { fileProblem } from "./input-file.ts";

/** What a command sees of the world outside: its streams and its environment. Tests hand in their own. */
export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether somebody reads standard output at a terminal; what scripts read stays as it is. */
  readonly isTerminal: boolean;
  out(text: string): void;
  err(text: string): void;
  /** Reads standard input to its end. */
  readInput(): Promise<Uint8Array>;
}

/** This process's streams, and what `runMain` needs to end it with the truth about them. */
export interface ProcessIo extends Io {
  /**
   * Resolves once all that was written has left the process, so that it may exit.
   *
   * @returns what standard output failed with, when something written to it was lost
   */
  flush(): Promise<Error | undefined>;
}

export function processIo(): ProcessIo {
  const pending = new Set<Promise<void>>();
  let lost: Error | undefined;
  const write = (stream: NodeJS.WriteStream, text: string): void => {
    const { promise, resolve } = Promise.withResolvers<void>();
    pending.add(promise);
    stream.write(text, (error) => {
      if (stream === process.stdout) lost ??= error ?? undefined;
      pending.delete(promise);
      resolve();
    });
  };
  // A stream without a listener for its errors would end the process by them, in the middle of the command's work.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  return {
    env: process.env,
    isTerminal: process.stdout.isTTY,
    out: (text) => write(process.stdout, text),
    err: (text) => write(process.stderr, text),
    readInput: () => Bun.stdin.bytes(),
    flush: async () => {
      await Promise.all(pending);
      return lost;
    },
  };
}

/** Resolves, with the exit code, when standard output takes nothing any more: for commands that print until they are ended. */
export function outputLost(): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  process.stdout.once("error", () => resolve(1));
  return promise;
}

/** What to tell of output that was lost. */
export function outputProblem(error: Error): string {
  return `standard output cannot be written to (${fileProblem(error)}): what was printed is lost`;
}
