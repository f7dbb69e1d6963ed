import type { Clock, Timer } from "./clock.ts";

interface Waiting {
  readonly at: number;
  readonly run: () => void;
}

/** A clock that stands until a test moves it on. */
export class ManualClock implements Clock {
  #nowMs: number;
  #waiting: Waiting[] = [];
  #onWait: (() => void)[] = [];

  constructor(startSeconds = 1_800_000_000) {
    this.#nowMs = startSeconds * 1000;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  nowSeconds(): number {
    return Math.floor(this.#nowMs / 1000);
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(milliseconds: number, run: () => void): Timer {
    const waiting = { at: this.#nowMs + Math.max(0, milliseconds), run };
    this.#waiting.push(waiting);
    for (const tell of this.#onWait.splice(0)) tell();
    return {
      cancel: () => {
        this.#waiting = this.#waiting.filter((one) => one !== waiting);
      },
    };
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.after(milliseconds, resolve);
    const wake = (): void => {
      timer.cancel();
      resolve();
    };
    signal?.addEventListener("abort", wake, { once: true });
    return promise;
  }

  /** Resolves once somebody waits, with the milliseconds until the first timer is due. */
  async untilNext(): Promise<number> {
    while (this.#waiting.length === 0) {
      await new Promise<void>((resolve) => void this.#onWait.push(resolve));
    }
    return Math.min(...this.#waiting.map(({ at }) => at)) - this.#nowMs;
  }

  /** Moves the time on and runs what is due then, in order. */
  pass(milliseconds: number): void {
    this.#nowMs += milliseconds;
    const due = this.#waiting.filter(({ at }) => at <= this.#nowMs);
    this.#waiting = this.#waiting.filter(({ at }) => at > this.#nowMs);
    for (const { run } of due.toSorted((a, b) => a.at - b.at)) run();
  }
}
