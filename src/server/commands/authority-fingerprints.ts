/** What a join word says of a trust bundle. Loaded when a word is made. */
import { systemClock } from "#clock/clock.ts";
import type { Bundle } from "#proto/spire/api/types/bundle.ts";
import { MAX_FINGERPRINTS } from "#spiffe/join-word.ts";
import { Certificate } from "#x509/certificate.ts";
import { splitCertificates } from "#x509/der.ts";
import { sha256Fingerprint } from "#x509/fingerprint.ts";

/**
 * The fingerprints of all X.509 authorities that a server may show: also those that are prepared, but none that is tainted, or has expired
 * and only waits to be removed.
 *
 * @throws Error when there are none, or too many
 */
export function authorityFingerprints({ x509Authorities }: Bundle): readonly string[] {
  const now = systemClock.nowSeconds();
  const usable = x509Authorities
    .flatMap(({ asn1, tainted }) => (tainted ? [] : splitCertificates(asn1)))
    .filter((der) => Certificate.parse(der).notAfter > now);
  const fingerprints = [...new Set(usable.map(sha256Fingerprint))];
  if (fingerprints.length === 0) throw new Error("the trust bundle has no authority that is good");
  if (fingerprints.length <= MAX_FINGERPRINTS) return fingerprints;
  throw new Error(
    `the trust bundle has ${fingerprints.length} authorities, and a join word holds ${MAX_FINGERPRINTS}; give the node the bundle as a file instead, by trust_bundle_path`,
  );
}
