import { StatusCode, StatusError } from "./status-error.ts";

/**
 * Whom a JWT-SVID is for: those that were asked for, without empty words, which name nobody (JWT-SVID §3.2).
 *
 * @throws StatusError INVALID_ARGUMENT with the words of the refusal when nobody is named
 */
export function namedAudience(asked: readonly string[], refusal: string): string[] {
  const named = asked.filter((one) => one !== "");
  if (named.length > 0) return named;
  throw new StatusError(StatusCode.INVALID_ARGUMENT, refusal);
}
