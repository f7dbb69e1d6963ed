import type { Clock } from "#clock/clock.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";

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

/** A refusal of entries, in the reference's words, which scripts look for; its reason, on which the agent acts, stays with it. */
export function entriesDenied(error: unknown): unknown {
  if (!(error instanceof StatusError) || error.code !== StatusCode.PERMISSION_DENIED) return error;
  const { code, message, reason } = error;
  const words = `failed to fetch authorized entries: ${message}`;
  return new StatusError(code, words, {
    cause: error,
    ...(reason === undefined ? {} : { reason }),
  });
}
