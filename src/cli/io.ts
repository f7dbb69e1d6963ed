/** What a command sees of the world outside: its streams and its environment. Tests hand in their own. */
export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  out(text: string): void;
  err(text: string): void;
  /** Reads standard input to its end. */
  readInput(): Promise<Uint8Array>;
}

/** The streams of this process. `flush` resolves once all that was written has left it, so that it may exit. */
export function processIo(): Io & { flush(): Promise<void> } {
  const pending = new Set<Promise<void>>();
  const write = (stream: NodeJS.WriteStream, text: string): void => {
    const { promise, resolve } = Promise.withResolvers<void>();
    pending.add(promise);
    stream.write(text, () => {
      pending.delete(promise);
      resolve();
    });
  };
  return {
    env: process.env,
    out: (text) => write(process.stdout, text),
    err: (text) => write(process.stderr, text),
    readInput: () => Bun.stdin.bytes(),
    flush: async () => {
      await Promise.all(pending);
    },
  };
}
