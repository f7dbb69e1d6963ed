/**
 * Holds a stream open on which the server tells what changed, for as long as there is a server that can. Ours alone: the reference's
 * server has no such stream, and the agent then asks every few seconds instead.
 */

import { entriesDenied } from "#agent/own-svid/failure.ts";
import type { Connection } from "#agent/own-svid/server-link.ts";
import { Backoff } from "#clock/backoff.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import { Wakeup } from "#clock/wakeup.ts";
import { readStream } from "#grpc/client.ts";
import type { Log } from "#log/log.ts";
import type { Change } from "#proto/spire_edge/changes/v1/changes.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";

/** Two streams on end that end sooner are one too many to open another at once, even if they ended in peace. */
const SHORT_LIFE_MS = 1000;

export interface ChangeWatchParts {
  readonly connection: () => Connection;
  readonly onChange: (change: Change) => void;
  /** The stream broke off; whatever happens from now on is not heard of. */
  readonly onLost: () => void;
  /** Looks into a failure of a call over that connection. @returns whether to try again at once; throws when it is all over */
  readonly onFailure: (error: unknown, connection: Connection) => Promise<boolean>;
  readonly firstPauseMs: number;
  readonly maxPauseMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

type Outcome = "again" | "failed" | "unsupported";

export class ChangeWatch {
  readonly #parts: ChangeWatchParts;
  readonly #wakeup: Wakeup;
  readonly #backoff: Backoff;
  #isLive = false;
  #wasShort = false;
  /** It waits before it opens another stream in place of one that failed. */
  #isBroken = false;

  constructor(parts: ChangeWatchParts) {
    this.#parts = parts;
    this.#wakeup = new Wakeup(parts.clock);
    this.#backoff = new Backoff(parts.firstPauseMs, parts.maxPauseMs, parts.random);
  }

  /** Whether changes are being heard of. */
  get isLive(): boolean {
    return this.#isLive;
  }

  /** The server answers: a stream that broke off is opened again at once. */
  reopen(): void {
    if (this.#isBroken) this.#wakeup.wake();
  }

  /** There may be another server now: ask it, also if the last one had no such stream. */
  retry(): void {
    if (!this.#isLive) this.#wakeup.wake();
  }

  /** Goes on until stopped. @throws whatever `onFailure` throws */
  async run(stopping: AbortSignal): Promise<void> {
    while (!stopping.aborted) {
      const connection = this.#parts.connection();
      const ends = new AbortController();
      const end = (): void => {
        ends.abort();
        this.#wakeup.wake();
      };
      const signals = [stopping, connection.replaced];
      for (const signal of signals) signal.addEventListener("abort", end);
      try {
        await this.#watch(connection, ends.signal);
      } finally {
        for (const signal of signals) signal.removeEventListener("abort", end);
      }
    }
  }

  /** Follows one stream to its end, and waits until it is time for the next. */
  async #watch(connection: Connection, ends: AbortSignal): Promise<void> {
    const outcome = await this.#follow(connection, ends);
    if (outcome === "again" || ends.aborted) return;
    this.#lost();
    this.#isBroken = outcome === "failed";
    const pause = this.#isBroken ? this.#backoff.nextMs() : Number.POSITIVE_INFINITY;
    await this.#wakeup.wait(pause, ends);
    this.#isBroken = false;
  }

  async #follow(connection: Connection, ends: AbortSignal): Promise<Outcome> {
    const { clock, onChange, onFailure } = this.#parts;
    const began = clock.monotonicMs();
    try {
      const call = connection.clients.changes.watchChanges({});
      for await (const change of readStream<Change>(call, ends)) {
        this.#began();
        onChange(change);
      }
    } catch (thrown) {
      const error = entriesDenied(thrown);
      if (ends.aborted) return "again";
      if (isUnsupported(error)) return "unsupported";
      if (await onFailure(error, connection)) return "again";
      this.#parts.log.debug("The stream of changes broke off", { error: errorText(error) });
      return "failed";
    }
    const isShort = clock.monotonicMs() - began < SHORT_LIFE_MS;
    const outcome = isShort && this.#wasShort ? "failed" : "again";
    this.#wasShort = isShort;
    return outcome;
  }

  #began(): void {
    if (this.#isLive) return;
    this.#isLive = true;
    this.#backoff.reset();
    this.#parts.log.debug("The server tells of changes as they happen");
  }

  #lost(): void {
    if (!this.#isLive) return;
    this.#isLive = false;
    this.#parts.onLost();
  }
}

/** A server without the service; or one whose authorisation knows no such method, and gives no reason that concerns this agent. */
function isUnsupported(error: unknown): boolean {
  if (!(error instanceof StatusError)) return false;
  const { code, reason } = error;
  return (
    code === StatusCode.UNIMPLEMENTED ||
    (code === StatusCode.PERMISSION_DENIED && reason === undefined)
  );
}
