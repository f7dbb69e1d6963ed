/** One executable being read and hashed, piece by piece, for as long as somebody gives it turns. */
import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import type { Clock } from "#clock/clock.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Executable } from "./executable.ts";
import { statusOf } from "./kernel.ts";
import { lookupFailed } from "./process.ts";

/** A tenth of a millisecond's work for the event loop. */
const PIECE_BYTES = 128 * 1024;
/** How long it reads before it lets others have their turn. */
const TURN_MS = 50;

/** How far it came. Who hashes the same version on begins there. */
export interface Progress {
  readonly sum: Hash;
  /** Bytes that are in the sum. */
  position: number;
}

export function noProgress(): Progress {
  return { sum: createHash("sha256"), position: 0 };
}

export class Hashing {
  /** Lowercase hex; rejects when the file cannot be read, changed meanwhile, or nobody waits any more. */
  readonly digest: Promise<string>;
  readonly #executable: Executable;
  readonly #clock: Clock;
  readonly #settle: PromiseWithResolvers<string> = Promise.withResolvers();
  readonly #progress: Progress;
  #file: FileHandle | undefined;
  #turn: Promise<void> | undefined;
  #isOver = false;

  /**
   * @param executable open until the digest is settled
   * @param progress of an earlier attempt at the same version
   * @param signal ends it; a read that never comes back is then left behind
   */
  constructor(executable: Executable, progress: Progress, signal: AbortSignal, clock: Clock) {
    this.#executable = executable;
    this.#progress = progress;
    this.#clock = clock;
    this.digest = this.#settle.promise;
    signal.addEventListener("abort", () => this.fail(signal.reason), { once: true });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Resolves when no read is under way. */
  async settled(): Promise<void> {
    await this.#turn;
  }

  /** Reads on for one turn; a second one who has a turn meanwhile waits for the end of the first. Never rejects. */
  async readOn(): Promise<void> {
    this.#turn ??= this.#readTurn()
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        this.#turn = undefined;
        // Also when it ended in the middle of a read.
        if (this.#isOver) void this.#file?.close();
      });
    await Promise.race([this.#turn, this.digest.then(String, String)]);
  }

  /** Ends it without a digest. */
  fail(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#settle.reject(error);
    if (this.#turn === undefined) void this.#file?.close();
  }

  async #readTurn(): Promise<void> {
    const { size } = this.#executable.status;
    const progress = this.#progress;
    const until = this.#clock.monotonicMs() + TURN_MS;
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    const file = await this.#open();
    while (!this.#isOver && this.#clock.monotonicMs() < until) {
      const { bytesRead } = await this.#reading(() =>
        file.read(piece, 0, PIECE_BYTES, progress.position),
      );
      if (this.#isOver) return;
      progress.sum.update(piece.subarray(0, bytesRead));
      progress.position += bytesRead;
      if (bytesRead === 0) return this.#finish(file);
      if (progress.position > size) throw changed();
    }
  }

  /** The very file that the executable is open on, be it deleted or replaced by now. */
  async #open(): Promise<FileHandle> {
    this.#file ??= await this.#reading(() => open(this.#executable.link, "r"));
    this.#check(this.#file);
    return this.#file;
  }

  #finish(file: FileHandle): void {
    this.#check(file);
    this.#isOver = true;
    this.#settle.resolve(this.#progress.sum.digest("hex"));
  }

  /** @throws StatusError when it is not, or no more, the version that was asked for */
  #check(file: FileHandle): void {
    if (statusOf(file.fd).version !== this.#executable.status.version) throw changed();
  }

  async #reading<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      throw lookupFailed(this.#executable.path, cause);
    }
  }
}

function changed(): StatusError {
  return new StatusError(StatusCode.UNAVAILABLE, "the executable changed while it was read");
}
