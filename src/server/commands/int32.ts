import { goQuote } from "#cli/go-text.ts";

const MAX = 2 ** 31 - 1;

/** Checks that a number fits the API's 32 bits. @throws Error with `invalid value for <what>: …` */
export function int32(value: number, what: string): number {
  if (value > MAX || value < -MAX - 1) {
    throw new Error(`invalid value for ${what}: overflow converting int(${value}) to int32`);
  }
  return value;
}

/**
 * Seconds of a duration, rounded up.
 *
 * @throws Error when the duration is beyond 68 years
 */
export function ttlSeconds(seconds: number): number {
  const whole = Math.ceil(seconds);
  if (whole > MAX) {
    throw new Error(
      `invalid value for TTL: overflow converting time.Duration(${goQuote(String(seconds))}) to int32`,
    );
  }
  return whole;
}
