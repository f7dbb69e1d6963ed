import type { Clock } from "#clock/clock.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

/** An agent gives up on a whole attestation in that time. */
const TIMEOUT_MS = 30_000;

/** Waits for the next message of a stream; undefined at its end. @throws StatusError DEADLINE_EXCEEDED after thirty seconds */
export type NextMessage<T> = () => Promise<T | undefined>;

/** Reads a stream of somebody who is not waited for without end. */
export function nextMessageOf<T>(messages: AsyncIterable<T>, clock: Clock): NextMessage<T> {
  const stream = messages[Symbol.asyncIterator]();
  return async () => {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = clock.after(TIMEOUT_MS, () =>
      reject(
        new StatusError(StatusCode.DEADLINE_EXCEEDED, "the next message did not come in time"),
      ),
    );
    try {
      const { value, done } = await Promise.race([stream.next(), late]);
      return done ? undefined : value;
    } finally {
      timer.cancel();
    }
  };
}
