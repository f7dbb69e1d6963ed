/**
 * Real processes for tests: started with their output kept, ended by pid, never left behind.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { createServer } from "node:net";

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string;
  /** Runs the command under this uid and gid; needs root. */
  readonly uid?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Milliseconds. */
  readonly timeoutMs?: number;
}

/** Runs a command to its end. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const child = start([...privileges(options), ...command], options);
  const out: string[] = [];
  const err: string[] = [];
  child.stdout?.setEncoding("utf8").on("data", (text: string) => out.push(text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => err.push(text));
  child.stdin?.end(options.input ?? "");
  const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 60_000);
  const code = await exitOf(child);
  clearTimeout(timer);
  return { code, stdout: out.join(""), stderr: err.join("") };
}

function start(command: readonly string[], options: RunOptions): ChildProcess {
  const [program = "", ...rest] = command;
  return spawn(program, rest, {
    env: { PATH: process.env["PATH"] ?? "", ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
}

/** A prefix for a command. */
function privileges({ uid }: RunOptions): string[] {
  return uid === undefined ? [] : ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
}

/** The same for a command that must not outlive the test's process, however that ends. */
function mortal(options: RunOptions): string[] {
  // One setpriv for all: a second one, without privileges, might not reach the program.
  const [program = "setpriv", ...words] = privileges(options);
  return [program, ...words, "--pdeathsig", "KILL", "--"];
}

function exitOf(child: ChildProcess): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  child.on("error", () => resolve(127));
  child.on("close", (code, signal) => resolve(code ?? (signal === "SIGKILL" ? 137 : 143)));
  return promise;
}

/** A process that goes on while the test works with it. */
export class Daemon {
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #waiters = new Set<() => void>();
  readonly exited: Promise<number>;
  #running = true;

  /** @param logFile where its output is kept for whoever looks into a failure */
  constructor(command: readonly string[], logFile: string, options: RunOptions = {}) {
    this.#child = start([...mortal(options), ...command], options);
    const log = createWriteStream(logFile, { flags: "a" });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      let rest = "";
      stream?.setEncoding("utf8").on("data", (text: string) => {
        log.write(text);
        const parts = (rest + text).split("\n");
        rest = parts.pop() ?? "";
        this.#lines.push(...parts);
        for (const wake of this.#waiters) wake();
      });
    }
    this.exited = exitOf(this.#child).then((code) => {
      this.#running = false;
      log.end();
      for (const wake of this.#waiters) wake();
      return code;
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return this.#running;
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Ends it politely, and after ten seconds without mercy; resolves with its exit code. */
  async stop(): Promise<number> {
    if (!this.#running) return this.exited;
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 10_000);
    const code = await this.exited;
    clearTimeout(timer);
    return code;
  }

  /** As a power cut would: SIGKILL. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exited;
  }

  /** Waits for a line of its output that the test function accepts, from line `from` on. */
  async line(accepts: (line: string) => boolean, timeoutMs = 30_000, from = 0): Promise<string> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const found = this.#lines.slice(from).find(accepts);
      if (found !== undefined) return found;
      const left = deadline - performance.now();
      if (left <= 0 || !this.#running) {
        throw new Error(`no such line; its last output was:\n${this.#lines.slice(-15).join("\n")}`);
      }
      await this.#change(left);
    }
  }

  async #change(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeoutMs);
    this.#waiters.add(resolve);
    await promise;
    clearTimeout(timer);
    this.#waiters.delete(resolve);
  }
}

/** Repeats a check until it gives a value, and says what was wrong at last if it never does. */
export async function eventually<T>(
  what: string,
  check: () => Promise<T | undefined>,
  timeoutMs = 30_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  while (performance.now() < deadline) {
    try {
      const value = await check();
      if (value !== undefined) return value;
    } catch (error) {
      last = error;
    }
    await Bun.sleep(100);
  }
  throw new Error(`${what}: did not happen in ${timeoutMs} ms`, { cause: last });
}

/** Given out already: the system may name one again before whoever asked for it listens there. */
const givenPorts = new Set<number>();

/** A TCP port of loopback that is free at this moment, never the same one twice. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = await portFreeNow();
    if (givenPorts.has(port)) continue;
    givenPorts.add(port);
    return port;
  }
}

async function portFreeNow(): Promise<number> {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const closed = Promise.withResolvers<void>();
  server.close(() => closed.resolve());
  await closed.promise;
  return port;
}
