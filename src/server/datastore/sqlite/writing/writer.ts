import type { Worker } from "node:worker_threads";
import type { Log } from "#log/log.ts";
import type { DataStoreChange } from "#server/datastore/datastore.ts";
import { writtenEntry } from "#server/datastore/sqlite/rows/entry-row.ts";
import { nodeFromRow } from "#server/datastore/sqlite/rows/node-row.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import { type Refusal, refusalError } from "./refusal.ts";
import { startWriterThread } from "./thread.ts";
import type { RowChanges } from "./write-context.ts";
import type { WriteName, WriteTypes } from "./writes.ts";

/** To the thread: the database, first and once; writes for one transaction; the request to close the database. */
export type WriterRequest =
  | { readonly open: string }
  | { readonly calls: readonly WriteCall[] }
  | "close";

export type WriteCall<Name extends WriteName = WriteName> = {
  [One in Name]: { readonly name: One; readonly argument: WriteTypes[One]["argument"] };
}[Name];

/** From the thread: that the database is open; one outcome for each call, in order; that the database is closed. */
export type WriterReply = "open" | { readonly outcomes: readonly WriteOutcome[] } | "closed";

export type WriteOutcome =
  | { readonly value: unknown; readonly changes: RowChanges }
  | { readonly refusal: Refusal };

/** Bounds how long one transaction keeps the first of its writes waiting. */
const MAX_CALLS_PER_TRANSACTION = 256;

interface Waiting {
  readonly call: WriteCall;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The writing half of the store, on its own thread. While a transaction is on its way to the disk, further writes gather;
 * they then share the next one, and its one sync.
 */
export class Writer {
  readonly #path: string;
  readonly #worker: Worker;
  readonly #log: Log;
  readonly #listeners: Set<(change: DataStoreChange) => void> = new Set();
  readonly #opened: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #closed: PromiseWithResolvers<void> = Promise.withResolvers();
  #waiting: Waiting[] = [];
  #underway: Waiting[] = [];
  #closing = false;
  #closeSent = false;
  #failure: StatusError | undefined;

  private constructor(path: string, log: Log, thread: Worker) {
    this.#path = path;
    this.#log = log;
    this.#worker = thread;
    this.#worker.on("message", (reply: WriterReply) => this.#receive(reply));
    this.#worker.on("error", (error: unknown) => this.#fail(errorText(error)));
    this.#worker.on("exit", () => this.#fail("its thread ended"));
    this.#post({ open: path });
  }

  /** @throws StatusError UNAVAILABLE when the thread cannot start or cannot open the database */
  static async start(
    path: string,
    log: Log,
    thread: Worker = startWriterThread(),
  ): Promise<Writer> {
    const writer = new Writer(path, log, thread);
    await writer.#opened.promise;
    return writer;
  }

  /**
   * @returns the result once its transaction is on the disk and the listeners have seen its change
   * @throws StatusError what the write refused, RESOURCE_EXHAUSTED for a full disk, UNAVAILABLE when the store is closed
   */
  async write<Name extends WriteName>(
    name: Name,
    argument: WriteTypes[Name]["argument"],
  ): Promise<WriteTypes[Name]["result"]> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closing) throw unavailable("it is closed");
    const { promise, resolve, reject } = Promise.withResolvers<WriteTypes[Name]["result"]>();
    this.#waiting.push({
      call: { name, argument } as WriteCall,
      resolve: (value) => resolve(value as WriteTypes[Name]["result"]),
      reject,
    });
    // Not at once: what this turn of the event loop still asks for shall share the transaction.
    setImmediate(() => this.#send());
    return await promise;
  }

  onChange(listener: (change: DataStoreChange) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Finishes what was asked for before, then closes the database. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#send();
    await this.#closed.promise;
    await this.#worker.terminate();
  }

  #send(): void {
    if (this.#underway.length > 0 || this.#closeSent || this.#failure !== undefined) return;
    this.#underway = this.#waiting.splice(0, MAX_CALLS_PER_TRANSACTION);
    if (this.#underway.length > 0) {
      this.#post({ calls: this.#underway.map(({ call }) => call) });
    } else if (this.#closing) {
      this.#closeSent = true;
      this.#post("close");
    }
  }

  #post(request: WriterRequest): void {
    this.#worker.postMessage(request);
  }

  #receive(reply: WriterReply): void {
    if (reply === "open") {
      this.#opened.resolve();
    } else if (reply === "closed") {
      this.#fail("it is closed");
    } else {
      const done = this.#underway;
      this.#underway = [];
      this.#logFault(reply.outcomes);
      for (const [index, outcome] of reply.outcomes.entries()) this.#settle(done[index], outcome);
      this.#send();
    }
  }

  /** Once for a transaction; what each caller was told is in the log of the API. */
  #logFault(outcomes: readonly WriteOutcome[]): void {
    const failed = outcomes.find((one) => "refusal" in one && one.refusal.fault !== undefined);
    if (failed === undefined || !("refusal" in failed)) return;
    this.#log.error("Datastore failed to store a change; what it stored before is intact", {
      path: this.#path,
      error: failed.refusal.message,
    });
  }

  #settle(waiting: Waiting | undefined, outcome: WriteOutcome): void {
    if ("refusal" in outcome) {
      waiting?.reject(refusalError(outcome.refusal));
      return;
    }
    this.#announce(outcome.changes);
    waiting?.resolve(outcome.value);
  }

  #announce(changes: RowChanges): void {
    if (this.#listeners.size === 0 || Object.values(changes).every((list) => list.length === 0)) {
      return;
    }
    const change: DataStoreChange = {
      entries: {
        stored: changes.storedEntries.map(writtenEntry),
        removed: changes.removedEntries,
      },
      nodes: { stored: changes.storedNodes.map(nodeFromRow), removed: changes.removedNodes },
      bundles: changes.bundles,
      federationRelationships: changes.federationRelationships,
    };
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        this.#log.error("Datastore listener failed", { error });
      }
    }
  }

  /** Without its thread the store takes no further writes: what was underway may or may not have reached the disk. */
  #fail(problem: string): void {
    if (this.#failure !== undefined) return;
    this.#failure = unavailable(problem);
    this.#opened.reject(this.#failure);
    this.#closed.resolve();
    if (!this.#closeSent) {
      this.#log.error("Datastore no longer accepts writes", { path: this.#path, error: problem });
    }
    for (const { reject } of [...this.#underway, ...this.#waiting]) reject(this.#failure);
    this.#underway = [];
    this.#waiting = [];
  }
}

function unavailable(problem: string): StatusError {
  return new StatusError(StatusCode.UNAVAILABLE, `datastore is not available: ${problem}`);
}
