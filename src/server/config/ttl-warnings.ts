import { formatDuration } from "#config/duration.ts";

/** A CA hands over at a sixth of its life before its end, at most seven days before; what it signed must end until then. */
const SVID_LIVES_IN_A_CA_LIFE = 6;
const LONGEST_CERTAIN_SECONDS = 7 * 24 * 3600;

/**
 * What to tell the operator about lifetimes that the rotation of the CA can cut short.
 *
 * @param lifetimes seconds, by the configuration key that sets them
 */
export function ttlWarnings(
  caTtlSeconds: number,
  lifetimes: Readonly<Record<string, number>>,
): string[] {
  const certain = Math.min(caTtlSeconds / SVID_LIVES_IN_A_CA_LIFE, LONGEST_CERTAIN_SECONDS);
  const shown = formatDuration(Math.floor(certain) || certain);
  return Object.entries(lifetimes)
    .filter(([, seconds]) => seconds > certain)
    .map(([key, seconds]) => {
      const problem = `${key} of ${formatDuration(seconds)} can be cut short when the CA rotates: only ${shown} are certain.`;
      const wayOut = `Set ${key} to ${shown} or less`;
      if (seconds <= LONGEST_CERTAIN_SECONDS) {
        const caTtl = formatDuration(seconds * SVID_LIVES_IN_A_CA_LIFE);
        return `${problem} ${wayOut}, or ca_ttl to ${caTtl} or more`;
      }
      return `${problem} ${wayOut}`;
    });
}
