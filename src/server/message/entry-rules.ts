import type { RegistrationEntry } from "#spiffe/registration-entry.ts";

const MAX_ID_BYTES = 255;

/**
 * What is wrong with an entry that is about to be stored, beyond the form of its fields; undefined when nothing is.
 * The words are those of the reference.
 */
export function entryProblem(entry: RegistrationEntry): string | undefined {
  if (entry.storeSvid) {
    if (entry.disableX509SvidPrefetch) {
      return "specifying cache behaviour is incompatible with storable SVIDs";
    }
    if (new Set(entry.selectors.map(({ type }) => type)).size > 1) {
      return "invalid registration entry: selector types must be the same when store SVID is enabled";
    }
  }
  if (entry.id.length > MAX_ID_BYTES) return "invalid registration entry: entry ID too long";
  if (!/^[A-Za-z0-9._-]*$/.test(entry.id)) {
    return "invalid registration entry: entry ID contains invalid characters";
  }
  if (entry.x509SvidTtl < 0) return "invalid registration entry: X509SvidTtl is not set";
  if (entry.jwtSvidTtl < 0) return "invalid registration entry: JwtSvidTtl is not set";
  return undefined;
}
