/** When the bundle of another trust domain is asked for again. All seconds. */
import type { Random } from "#clock/random.ts";
import type { Bundle } from "#spiffe/bundle.ts";

/** Whatever a publisher hints at, its endpoint is not asked more often than four times in this. */
const MIN_HINT = 60;
/** And not less often than this: a revoked key is to be gone some day, and nobody else's mistake is to last for years. */
const MAX_INTERVAL = 24 * 3600;
/** Several attempts within a hint: one that fails does no harm yet. */
const ATTEMPTS_PER_HINT = 4;
/** SPIFFE Federation §4.1 recommends five minutes where there is no hint. */
const WITHOUT_HINT = 300;
/** Soon, as nothing of the other trust domain can be verified until then. */
const WITHOUT_BUNDLE = 60;

/** @param bundle what is known of the trust domain now */
export function refreshIntervalSeconds(bundle: Bundle | undefined): number {
  if (bundle === undefined) return WITHOUT_BUNDLE;
  if (bundle.refreshHint <= 0) return WITHOUT_HINT;
  return Math.min(Math.max(bundle.refreshHint, MIN_HINT) / ATTEMPTS_PER_HINT, MAX_INTERVAL);
}

/** A tenth more or less, so that servers that started together do not ask together for ever. */
export function jittered(seconds: number, random: Pick<Random, "fraction">): number {
  return seconds * (0.9 + 0.2 * random.fraction());
}
