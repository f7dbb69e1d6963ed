/** When a stream has nothing to send yet, and when it cannot go on. */
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Identity, Subscription } from "./subscription.ts";
import type { WorkloadCache } from "./workload-cache.ts";

export const SERVER_AWAY = "the agent cannot reach its server";

export function unavailable(why: string): StatusError {
  return new StatusError(StatusCode.UNAVAILABLE, why);
}

/** @throws StatusError UNAVAILABLE when the agent is about to stop */
export function checkOpen(cache: WorkloadCache): void {
  if (cache.isClosed) throw unavailable("the agent is stopping");
}

/**
 * Whether to wait for X509-SVIDs before these identities are sent. The first message has all SVIDs but those that the server refuses to
 * issue; later ones do not hold back what is there because of one that is not.
 *
 * @throws StatusError UNAVAILABLE when the server that is to issue them is away
 */
export function waitsForSvids(
  cache: WorkloadCache,
  identities: readonly Identity[],
  isFirst: boolean,
): boolean {
  const isMissing = ({ svid }: Identity): boolean => svid === undefined;
  const isComing = (one: Identity): boolean => isMissing(one) && !one.isRefused;
  const waits =
    identities.length > 0 &&
    (identities.every(isMissing) || (isFirst && identities.some(isComing)));
  if (waits && cache.isServerAway) throw unavailable(SERVER_AWAY);
  return waits;
}

/** Resolves when one of the subscriptions is no longer at the version beside it, or when the signal aborts. */
export async function anyChangedSince(
  seen: readonly (readonly [Subscription, number])[],
  signal: AbortSignal,
): Promise<void> {
  // Ends the waiting on the others, which would pile up.
  const over = new AbortController();
  const end = (): void => over.abort();
  signal.addEventListener("abort", end, { once: true });
  if (signal.aborted) end();
  try {
    await Promise.race(seen.map(([one, version]) => one.changedSince(version, over.signal)));
  } finally {
    signal.removeEventListener("abort", end);
    end();
  }
}
