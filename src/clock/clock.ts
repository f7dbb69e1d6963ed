/**
 * Time, injected. Only this room calls Date.now and timers, so rotation is tested without sleeping.
 */

/** A pending timer. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
  /** Whole seconds since the Unix epoch. */
  nowSeconds(): number;
  /** Milliseconds of a clock that never jumps, for measuring durations. */
  monotonicMs(): number;
  /** Runs the function once after that many milliseconds. A pending timer does not keep the process alive. */
  after(milliseconds: number, run: () => void): Timer;
  /** Resolves after that many milliseconds, or early and without error when the signal aborts. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

/** setTimeout holds 31 bits; a longer wait would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

class SystemClock implements Clock {
  nowMs(): number {
    return Date.now();
  }

  nowSeconds(): number {
    return Math.floor(Date.now() / 1000);
  }

  monotonicMs(): number {
    return performance.now();
  }

  after(milliseconds: number, run: () => void): Timer {
    const timer = setTimeout(run, Math.min(Math.max(0, milliseconds), MAX_TIMER_MS));
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, Math.min(Math.max(0, milliseconds), MAX_TIMER_MS));
    signal?.addEventListener("abort", done, { once: true });
    return promise;
  }
}

/** The machine's own clock. */
export const systemClock: Clock = new SystemClock();
