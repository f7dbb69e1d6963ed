/**
 * One connection to a D-Bus: authenticated by our user id, it makes calls and waits for their answers. What others send us is dropped.
 * Any byte out of order ends it, with all calls under way. Called by the systemd client alone.
 */
import { connect, type Socket } from "node:net";
import type { Clock, Timer } from "#clock/clock.ts";
import { DbusFormatError } from "./format-error.ts";
import { type DbusCall, type DbusMessage, decodeMessage, encodeCall } from "./message.ts";
import { MessageStream } from "./message-stream.ts";

/** Attestation waits 30 seconds; a service manager that is busy reloading its units takes some. */
const TIMEOUT_MS = 20_000;
const LARGEST_SERIAL = 0xffff_ffff;

/** The other side's answer is an error. */
export class DbusError extends Error {
  override readonly name: string = "DbusError";
  /** For instance `org.freedesktop.DBus.Error.NoReply`. */
  readonly errorName: string;

  constructor(errorName: string, message: string) {
    super(message === "" ? errorName : message);
    this.errorName = errorName;
  }
}

/** What ends the wait for being let in. */
interface Settled {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

interface Pending {
  readonly resolve: (message: DbusMessage) => void;
  readonly reject: (error: Error) => void;
  readonly timer: Timer;
  readonly sender: string | undefined;
}

export class DbusConnection {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #stream: MessageStream = new MessageStream();
  readonly #pending: Map<number, Pending> = new Map();
  readonly #authenticated: Settled;
  #failure: Error | undefined;
  #serial = 0;

  /**
   * Connects and authenticates.
   *
   * @throws Error when nobody listens there, or we are not let in
   */
  static async open(path: string, clock: Clock): Promise<DbusConnection> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const connection = new DbusConnection(path, clock, { resolve, reject });
    const timer = clock.after(TIMEOUT_MS, () => connection.#fail(new Error("no answer in time")));
    try {
      await promise;
      return connection;
    } finally {
      timer.cancel();
    }
  }

  private constructor(path: string, clock: Clock, authenticated: Settled) {
    this.#clock = clock;
    this.#authenticated = authenticated;
    this.#socket = connect({ path });
    // An idle connection keeps nobody from ending.
    this.#socket.unref();
    this.#socket.on("connect", () => {
      // EXTERNAL: the kernel tells the other side who we are; the id, in hexadecimal digits of its decimal ones, must only agree.
      const id = Buffer.from(String(process.geteuid?.() ?? 0)).toString("hex");
      // BEGIN goes along: systemd's own end leaves lying what comes in one piece with a BEGIN that is sent later.
      this.#socket.write(`\0AUTH EXTERNAL ${id}\r\nBEGIN\r\n`);
    });
    this.#socket.on("data", (bytes: Buffer) => this.#take(bytes));
    this.#socket.on("error", (error) => this.#fail(error));
    this.#socket.on("close", () => this.#fail(new Error("the connection was closed")));
  }

  get isOpen(): boolean {
    return this.#failure === undefined;
  }

  /**
   * Makes a call; only an answer of that very destination counts, where it is a unique name.
   *
   * @returns the values of the answer
   * @throws DbusError when it is an error, and Error when there is none
   */
  async call(call: DbusCall): Promise<DbusMessage["body"]> {
    if (this.#failure !== undefined) throw this.#failure;
    const serial = this.#nextSerial();
    const { promise, resolve, reject } = Promise.withResolvers<DbusMessage>();
    const timer = this.#clock.after(TIMEOUT_MS, () => {
      this.#pending.delete(serial);
      reject(new Error(`${call.member}: no answer in time`));
    });
    const sender = call.destination?.startsWith(":") ? call.destination : undefined;
    this.#pending.set(serial, { resolve, reject, timer, sender });
    this.#socket.write(encodeCall(call, serial));
    const { kind, errorName, body } = await promise;
    if (kind === "return") return body;
    const [text] = body;
    throw new DbusError(errorName ?? "", typeof text === "string" ? text : "");
  }

  close(): void {
    this.#fail(new Error("the connection was closed"));
  }

  #nextSerial(): number {
    do this.#serial = (this.#serial % LARGEST_SERIAL) + 1;
    while (this.#pending.has(this.#serial));
    return this.#serial;
  }

  #take(bytes: Buffer): void {
    try {
      this.#stream.push(bytes);
      this.#greet();
      for (const message of this.#stream.messages()) this.#answer(decodeMessage(message));
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** Until we are let in, the other side speaks in lines. */
  #greet(): void {
    const line = this.#stream.line();
    if (line === undefined) return;
    if (!line.startsWith("OK ")) throw new DbusFormatError("it does not let us in");
    this.#authenticated.resolve();
  }

  #answer(message: DbusMessage): void {
    const { kind, replySerial = 0, sender } = message;
    const pending = this.#pending.get(replySerial);
    if (kind === "other" || pending === undefined) return;
    if (pending.sender !== undefined && pending.sender !== sender && !isOfBus(message)) return;
    this.#pending.delete(replySerial);
    pending.timer.cancel();
    pending.resolve(message);
  }

  #fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#socket.destroy();
    this.#authenticated.reject(error);
    for (const { timer, reject } of this.#pending.values()) {
      timer.cancel();
      reject(error);
    }
    this.#pending.clear();
  }
}

/** The bus itself says so when a destination is gone or may not be called. */
function isOfBus({ kind, sender }: DbusMessage): boolean {
  return kind === "error" && sender === "org.freedesktop.DBus";
}
