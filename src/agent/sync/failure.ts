import type { Clock } from "#clock/clock.ts";
import { errorText } from "#spiffe/status-error.ts";

/** Something that is tried again and again, and failed the last time; for whoever asks why. */
export interface Failure {
  readonly error: string;
  /** Unix seconds. */
  readonly failedAt: number;
  readonly retryAt: number;
}

/** @param pauseMs milliseconds until the next try */
export function failureOf(error: unknown, pauseMs: number, clock: Clock): Failure {
  const failedAt = clock.nowSeconds();
  return { error: errorText(error), failedAt, retryAt: Math.ceil(failedAt + pauseMs / 1000) };
}
