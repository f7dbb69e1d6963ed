import { isFinal } from "#agent/attestation/refusal.ts";
import { StrangeServerError } from "#agent/attestation/server-bundle.ts";
import { Backoff } from "#clock/backoff.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { Log } from "#log/log.ts";
import { Recurring } from "#log/recurring.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";

const FIRST_PAUSE_MS = 5_000;
const MAX_PAUSE_MS = 60_000;

export interface RetryPolicy {
  /** Milliseconds, from the first attempt on. */
  readonly totalMs: number;
  /** Whether no repetition changes that failure. */
  readonly isFinal: (error: unknown) => boolean;
}

/** A node that never joined: after a minute the supervisor starts it again; a loop in here would hide from it that nothing works. */
export const FIRST_ATTESTATION: RetryPolicy = { totalMs: 60_000, isFinal: isFinalAtFirst };

/** As the first, where the agent may ask for a new trust bundle again and again until one suits the server. */
export const FIRST_ATTESTATION_REBOOTSTRAPPING: RetryPolicy = {
  totalMs: 24 * 3600 * 1000,
  isFinal: isFinalAtFirst,
};

/** A node that never joined learns at once that its join word is for another server; nothing depends on it yet. */
function isFinalAtFirst(error: unknown): boolean {
  return error instanceof StrangeServerError || isFinal(error);
}

/** A node that workloads depend on: it waits for its server, or for its operator, and ends only when it is banned. */
export const REATTESTATION: RetryPolicy = {
  totalMs: Number.POSITIVE_INFINITY,
  isFinal: (error) => error instanceof StatusError && error.code === StatusCode.PERMISSION_DENIED,
};

export interface RetryTools {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Hears why each try failed. */
  readonly tell: (reason: string) => void;
  /** Waits that many milliseconds, or less where there is reason to try at once. */
  readonly pause: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

/**
 * Repeats a step until it works.
 *
 * @param what for messages: `attest`
 * @param signal ends the waiting for good
 * @throws what the step threw last, in an Error that says what failed; or the signal's reason
 */
export async function retry<T>(
  what: string,
  { clock, random, log, pause, tell }: RetryTools,
  policy: RetryPolicy,
  step: () => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const backoff = new Backoff(FIRST_PAUSE_MS, MAX_PAUSE_MS, random);
  const started = clock.monotonicMs();
  const failing = new Recurring(log);
  for (;;) {
    signal.throwIfAborted();
    try {
      return await step();
    } catch (error) {
      const wait = backoff.nextMs();
      const isOver = clock.monotonicMs() + wait - started > policy.totalMs;
      if (isOver || policy.isFinal(error)) {
        throw new Error(`failed to ${what}: ${errorText(error)}`, { cause: error });
      }
      const reason = errorText(error);
      tell(reason);
      failing.failed("warn", `Failed to ${what}, will retry`, {
        error: reason,
        retry_ms: Math.round(wait),
      });
      await pause(wait, signal);
    }
  }
}
