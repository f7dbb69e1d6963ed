import { goQuote } from "#cli/go-text.ts";
import { rfc3339 } from "#cli/go-time.ts";
import type { Io } from "#cli/io.ts";
import { systemClock } from "#clock/clock.ts";
import { errorText } from "#spiffe/status-error.ts";

/**
 * Tells on standard error when a token lives shorter than it was asked to.
 *
 * @param kind as messages name it, such as `JWT-SVID`
 * @param ttl seconds
 */
export function tellCap(kind: string, token: string, ttl: number, io: Io): void {
  try {
    const end = expiryOf(token);
    if (end - systemClock.nowMs() / 1000 >= ttl) return;
    const shown = goQuote(rfc3339(end));
    io.err(`${kind} lifetime was capped shorter than specified ttl; expires ${shown}\n`);
  } catch (error) {
    io.err(`Unable to determine ${kind} lifetime: ${errorText(error)}\n`);
  }
}

/** The `exp` claim, for showing only: nothing in the token is verified here. */
function expiryOf(token: string): number {
  const payload = Buffer.from(token.split(".")[1] ?? "", "base64url").toString();
  const claims: unknown = JSON.parse(payload);
  if (typeof claims !== "object" || claims === null || !("exp" in claims)) {
    throw new Error("no expiry claim");
  }
  if (typeof claims.exp !== "number") throw new Error("the expiry claim is not a number");
  return claims.exp;
}
