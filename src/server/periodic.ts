import type { Clock } from "#clock/clock.ts";
import type { Log } from "#log/log.ts";

/** Work that runs again and again until it is stopped. */
export interface PeriodicTask {
  /** Resolves when no run is under way any more. */
  stop(): Promise<void>;
}

/**
 * Runs the work every so often, never twice at once. A run that fails is logged and tried again when the next is due.
 *
 * @param name what the log calls the work
 * @param intervalMs milliseconds, or what tells them after each run
 */
export function periodically(
  name: string,
  intervalMs: number | (() => number),
  run: () => Promise<void>,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): PeriodicTask {
  const stopping = new AbortController();
  const loop = async (): Promise<void> => {
    for (;;) {
      const waitMs = typeof intervalMs === "number" ? intervalMs : intervalMs();
      await clock.sleep(waitMs, stopping.signal);
      if (stopping.signal.aborted) return;
      await run().catch((error: unknown) => log.error(`Could not ${name}`, { error }));
    }
  };
  const ended = loop();
  return {
    stop: async () => {
      stopping.abort();
      await ended;
    },
  };
}
