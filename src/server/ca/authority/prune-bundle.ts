import type { Log } from "#log/log.ts";
import type { Bundles } from "#server/datastore/datastore.ts";
import type { Bundle, KeyAuthority, X509Authority } from "#spiffe/bundle.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";

/** As the reference: verifiers whose clock is behind still find what just expired. */
const KEPT_AFTER_EXPIRY_SECONDS = 24 * 3600;

export interface PruneBundleParts {
  readonly bundles: Bundles;
  readonly trustDomain: TrustDomain;
  readonly log: Log;
}

/**
 * Takes authorities that expired more than a day ago out of the trust domain's bundle.
 *
 * @param now Unix seconds
 */
export async function pruneBundle(parts: PruneBundleParts, now: number): Promise<void> {
  const { bundles, trustDomain, log } = parts;
  if ((await bundles.find(trustDomain.name)) === undefined) return;
  let pruned: Pruned | undefined;
  await bundles.update(trustDomain.name, (bundle) => {
    pruned = prune(bundle, now - KEPT_AFTER_EXPIRY_SECONDS);
    return pruned?.left;
  });
  for (const { certificate } of pruned?.x509Authorities ?? []) {
    const { serialNumberDecimal } = Certificate.parse(certificate);
    log.info("Pruned an expired CA certificate", { serial_number: serialNumberDecimal });
  }
  for (const { keyId } of pruned?.jwtAuthorities ?? []) {
    log.info("Pruned an expired JWT key", { kid: keyId });
  }
  for (const { keyId } of pruned?.witAuthorities ?? []) {
    log.info("Pruned an expired WIT key", { kid: keyId });
  }
}

interface Pruned {
  readonly left: Bundle;
  readonly x509Authorities: readonly X509Authority[];
  readonly jwtAuthorities: readonly KeyAuthority[];
  readonly witAuthorities: readonly KeyAuthority[];
}

/** Undefined when nothing is to go. A bundle never becomes empty: that would cut every agent off for good. */
function prune(bundle: Bundle, expiredBefore: number): Pruned | undefined {
  const expired = ({ certificate }: X509Authority): boolean =>
    Certificate.parse(certificate).notAfter <= expiredBefore;
  const [x509Authorities, x509Left] = split(bundle.x509Authorities, expired);
  const expiredKey = ({ expiresAt }: KeyAuthority): boolean =>
    expiresAt !== 0 && expiresAt <= expiredBefore;
  const [jwtAuthorities, jwtLeft] = split(bundle.jwtAuthorities, expiredKey);
  const [witAuthorities, witLeft] = split(bundle.witAuthorities, expiredKey);
  const count = x509Authorities.length + jwtAuthorities.length + witAuthorities.length;
  if (count === 0 || x509Left.length === 0) return undefined;
  const left = {
    ...bundle,
    x509Authorities: x509Left,
    jwtAuthorities: jwtLeft,
    witAuthorities: witLeft,
    sequenceNumber: bundle.sequenceNumber + 1,
  };
  return { left, x509Authorities, jwtAuthorities, witAuthorities };
}

function split<T>(items: readonly T[], isFirst: (item: T) => boolean): [T[], T[]] {
  const first = items.filter(isFirst);
  return [first, items.filter((item) => !first.includes(item))];
}
