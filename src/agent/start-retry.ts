import { AgentRefusedError } from "#agent/attestation/own-svid.ts";
import { CannotAttestError } from "#attestors/attestor.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { Log } from "#log/log.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";

const FIRST_PAUSE_MS = 5_000;
const GROWTH = 1.5;
const JITTER = 0.1;
/** After that the supervisor starts the agent again; a loop in here would hide from it that nothing works. */
const PATIENCE_MS = 60_000;

/** Answers that no repetition changes: the token is spent, the agent is banned, the server does not know the attestor. */
const FINAL: readonly StatusCode[] = [
  StatusCode.PERMISSION_DENIED,
  StatusCode.INVALID_ARGUMENT,
  StatusCode.FAILED_PRECONDITION,
];

/** Repeats a step of the start while the server cannot be reached, for at most a minute. @throws what the step threw last */
export async function retryAtStart<T>(
  what: string,
  tools: { readonly clock: Clock; readonly random: Random; readonly log: Log },
  step: () => Promise<T>,
): Promise<T> {
  const { clock, random, log } = tools;
  const started = clock.monotonicMs();
  for (let pause = FIRST_PAUSE_MS; ; pause *= GROWTH) {
    try {
      return await step();
    } catch (error) {
      const wait = pause * (1 + JITTER * (2 * random.fraction() - 1));
      const final =
        error instanceof AgentRefusedError ||
        error instanceof CannotAttestError ||
        (error instanceof StatusError && FINAL.includes(error.code));
      if (final || clock.monotonicMs() + wait - started > PATIENCE_MS) {
        throw new Error(`failed to ${what}: ${errorText(error)}`, { cause: error });
      }
      log.warn(`Failed to ${what}, will retry`, {
        error: errorText(error),
        retry_ms: Math.round(wait),
      });
      await clock.sleep(wait);
    }
  }
}
