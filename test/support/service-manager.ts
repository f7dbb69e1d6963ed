/** A service manager under test, played by service-manager.py: it starts an agent, hears its messages and keeps its descriptors. */
import { join } from "node:path";
import { eventually } from "./process.ts";

export interface StoredDescriptor {
  readonly name: string;
  readonly size: number;
  readonly seals: number;
}

interface Event {
  readonly event: "listening" | "started" | "message" | "store" | "exited";
  readonly pid: number;
  readonly code: number;
  readonly lines: readonly string[];
  readonly descriptors: readonly StoredDescriptor[];
}

export class ServiceManager {
  readonly #child: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #events: Event[] = [];

  /** @param address a path, or `@` and an abstract name */
  constructor(address: string) {
    this.#child = Bun.spawn(["python3", join(import.meta.dir, "service-manager.py"), address], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    void this.#read();
  }

  async #read(): Promise<void> {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const bytes of this.#child.stdout) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      this.#events.push(...lines.map((line) => JSON.parse(line) as Event));
    }
  }

  /** Starts a command with all stored descriptors. @returns its pid */
  async start(
    command: readonly string[],
    log: string,
    environment: Readonly<Record<string, string>> = {},
  ): Promise<number> {
    const from = this.#events.length;
    this.#say({ start: command, log, environment });
    return (await this.#event("started", from)).pid;
  }

  /** Sends a signal and waits for the process to end. @returns its exit code, below 0 for a signal */
  async end(pid: number, signal: "SIGKILL" | "SIGTERM"): Promise<number> {
    this.#say({ signal: signal === "SIGKILL" ? 9 : 15, pid });
    return this.exited(pid);
  }

  async exited(pid: number): Promise<number> {
    return (await this.#event("exited", 0, (event) => event.pid === pid)).code;
  }

  async stored(): Promise<readonly StoredDescriptor[]> {
    const from = this.#events.length;
    this.#say({ show: true });
    return (await this.#event("store", from)).descriptors;
  }

  /** Puts a descriptor of that content into the store. */
  plant(name: string, content: Uint8Array, sealed: boolean): void {
    this.#say({ plant: name, base64: Buffer.from(content).toString("base64"), sealed });
  }

  /** What a process has said so far, a line each. */
  said(pid: number): readonly string[] {
    return this.#events.flatMap((event) =>
      event.event === "message" && event.pid === pid ? event.lines : [],
    );
  }

  /** All that was said by anybody: the program systemd-notify speaks for the agent. */
  get heard(): readonly string[] {
    return this.#events.flatMap((event) => (event.event === "message" ? event.lines : []));
  }

  /** Ends it and all it started. */
  async close(): Promise<void> {
    await this.#child.stdin.end();
    await this.#child.exited;
  }

  #say(command: object): void {
    void this.#child.stdin.write(`${JSON.stringify(command)}\n`);
    void this.#child.stdin.flush();
  }

  #event(
    kind: Event["event"],
    from: number,
    accepts: (event: Event) => boolean = () => true,
  ): Promise<Event> {
    return eventually(`event ${kind} of the service manager`, async () =>
      this.#events.slice(from).find((event) => event.event === kind && accepts(event)),
    );
  }
}
