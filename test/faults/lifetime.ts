/** A server from its start to its end by SIGKILL, with those who work with it meanwhile. */
import {
  type ClientIdentity,
  type Clients,
  closeClients,
  localClients,
  remoteClients,
} from "#server/server.fixture.ts";
import type { Daemon } from "../support/process.ts";
import type { TestServer } from "../support/spire.ts";

/** Work of one kind, and the ledger of what the server acknowledged of it. */
export interface Load {
  /** Goes on until the lifetime is over. */
  work(life: Lifetime): Promise<void>;
  /**
   * Looks at a server that was started again after all work had ended. What is found counts as acknowledged from then on.
   *
   * @returns whatever is not as it was acknowledged
   */
  check(life: Lifetime): Promise<readonly string[]>;
}

type CallEvent = "sent" | "answered";

/** A server that can be asked this long after its start is not waiting for a hand. */
const START_MS = 10_000;

export class Lifetime {
  /** What went wrong while the server was to be there. */
  readonly faults: string[] = [];
  readonly #server: TestServer;
  readonly #daemon: Daemon;
  readonly #opened: Clients[] = [];
  readonly #over: PromiseWithResolvers<void> = Promise.withResolvers();
  #listener: ((event: CallEvent, what: string) => void) | undefined;
  #isOver = false;

  private constructor(server: TestServer) {
    this.#server = server;
    this.#daemon = server.launch();
  }

  /** Starts the server, and does not wait for anything. */
  static launch(server: TestServer): Lifetime {
    return new Lifetime(server);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Resolves when the server can be asked. @returns milliseconds since its start */
  async ready(): Promise<number> {
    const started = performance.now();
    await this.#daemon.line((line) => line.includes("network=unix"), START_MS);
    return performance.now() - started;
  }

  /** Waits, but not beyond the end. */
  async pause(milliseconds: number): Promise<void> {
    await Promise.race([Bun.sleep(milliseconds), this.#over.promise]);
  }

  /** Resolves when such a call is sent, or answered, the next time; or with the end. */
  async next(event: CallEvent, what: RegExp): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#listener = (happened, name) => {
      if (happened === event && what.test(name)) resolve();
    };
    await Promise.race([promise, this.#over.promise]);
    this.#listener = undefined;
  }

  /** A connection of its own to the admin socket. */
  local(): Clients {
    return this.#keep(localClients(this.#server.socket));
  }

  /** A connection of its own over TLS, with or without an SVID. */
  remote(identity?: ClientIdentity): Clients {
    return this.#keep(remoteClients(`127.0.0.1:${this.#server.port}`, identity));
  }

  /**
   * Makes a call. One that fails after the kill is just not acknowledged; before it, it is a fault.
   *
   * @returns undefined when there was no answer
   */
  async ask<Answer>(what: string, call: () => Promise<Answer>): Promise<Answer | undefined> {
    try {
      this.#listener?.("sent", what);
      const answer = await call();
      this.#listener?.("answered", what);
      return answer;
    } catch (error) {
      if (!this.#isOver) this.faults.push(`${what}: ${error}`);
      return undefined;
    }
  }

  async kill(): Promise<void> {
    this.#isOver = true;
    await this.#daemon.kill();
    this.#end();
  }

  async stop(): Promise<number> {
    this.#isOver = true;
    const code = await this.#daemon.stop();
    this.#end();
    return code;
  }

  #end(): void {
    this.faults.push(...this.#daemon.lines.filter(isFault));
    this.#over.resolve();
  }

  /** Once all work has ended. */
  close(): void {
    for (const clients of this.#opened) closeClients(clients);
  }

  #keep(clients: Clients): Clients {
    this.#opened.push(clients);
    return clients;
  }
}

/** A refused call is logged as an error too; whoever made it knows whether it was right to refuse it. */
function isFault(line: string): boolean {
  return / level=(error|fatal|panic) /.test(line) && !line.includes("subsystem_name=api");
}
