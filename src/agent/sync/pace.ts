/** How often the server is asked. */
import type { Random } from "#clock/random.ts";

/** As long as there is nothing to serve, and after a failure, a long interval is not waited for. */
const MAX_EAGER_PAUSE_MS = 5_000;
/** With a server that tells of changes, asking for them is but a safety net. */
const MIN_PAUSE_WHEN_TOLD_MS = 60_000;
const MAX_BACKOFF_FACTOR = 48;
const MAX_BACKOFF_MS = 480_000;
const JITTER = 0.1;

/** The pauses after failures, in milliseconds. @param intervalMs `sync_interval` */
export function pausesAfterFailures(intervalMs: number): {
  readonly firstPauseMs: number;
  readonly maxPauseMs: number;
} {
  return {
    firstPauseMs: Math.min(intervalMs, MAX_EAGER_PAUSE_MS),
    maxPauseMs: Math.min(MAX_BACKOFF_FACTOR * intervalMs, MAX_BACKOFF_MS),
  };
}

/** The pause after a success, in milliseconds. */
export function pauseMs(
  intervalMs: number,
  { isTold, isIdle }: { readonly isTold: boolean; readonly isIdle: boolean },
  random: Random,
): number {
  const asked = isIdle ? Math.min(intervalMs, MAX_EAGER_PAUSE_MS) : intervalMs;
  const pause = isTold ? Math.max(intervalMs, MIN_PAUSE_WHEN_TOLD_MS) : asked;
  return pause * (1 + JITTER * (2 * random.fraction() - 1));
}
