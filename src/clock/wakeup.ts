import type { Clock } from "./clock.ts";

/** What a loop waits on between its rounds: it sleeps until its time has come, or somebody wakes it. */
export class Wakeup {
  readonly #clock: Clock;
  #isWoken = false;
  #sleeping: AbortController | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Ends the wait under way, or else the next one. */
  wake(): void {
    this.#isWoken = true;
    this.#sleeping?.abort();
  }

  /** Resolves after that many milliseconds, when woken, or when the signal aborts. Infinity waits for the other two. */
  async wait(milliseconds: number, signal: AbortSignal): Promise<void> {
    if (!this.#isWoken && !signal.aborted) {
      const sleeping = new AbortController();
      const end = (): void => sleeping.abort();
      this.#sleeping = sleeping;
      signal.addEventListener("abort", end);
      await this.#clock.sleep(milliseconds, sleeping.signal);
      signal.removeEventListener("abort", end);
      this.#sleeping = undefined;
    }
    this.#isWoken = false;
  }
}
