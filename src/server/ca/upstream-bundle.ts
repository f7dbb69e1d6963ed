/** The bundle of an upstream, taken into our own. What it says of an authority holds; what it does not know stays, unless it was tainted. */
import type { Bundle, JwtAuthority, X509Authority } from "#spiffe/bundle.ts";
import type { UpstreamBundle } from "#upstream/upstream-authority.ts";

/** The roots that the upstream has tainted and our bundle has not. Before it does, nothing of ours may be below them. */
export function newlyTainted(bundle: Bundle, upstream: UpstreamBundle): readonly Uint8Array[] {
  const sound = new Set(
    bundle.x509Authorities.filter(({ tainted }) => !tainted).map(certificateKey),
  );
  return upstream.x509Authorities
    .filter((authority) => authority.tainted && sound.has(certificateKey(authority)))
    .map(({ certificate }) => certificate);
}

/**
 * The bundle with the upstream's authorities and taints. A tainted authority that the upstream has no more was revoked.
 *
 * @param isOwn whether this server made the JWT key: of those it knows better than the upstream, which learns of no taint and no revocation
 * @returns undefined when there is nothing new
 */
export function withUpstream(
  bundle: Bundle,
  upstream: UpstreamBundle,
  isOwn: (keyId: string) => boolean,
): Bundle | undefined {
  const ownKeys = bundle.jwtAuthorities.filter(({ keyId }) => isOwn(keyId));
  const x509Authorities = taken(bundle.x509Authorities, upstream.x509Authorities, certificateKey);
  const jwtAuthorities = taken(
    bundle.jwtAuthorities,
    [...upstream.jwtAuthorities.filter(({ keyId }) => !isOwn(keyId)), ...ownKeys],
    jwtKey,
  );
  if (
    isSame(bundle.x509Authorities, x509Authorities) &&
    isSame(bundle.jwtAuthorities, jwtAuthorities)
  ) {
    return undefined;
  }
  return {
    ...bundle,
    x509Authorities,
    jwtAuthorities,
    sequenceNumber: bundle.sequenceNumber + 1,
  };
}

interface Taintable {
  readonly tainted: boolean;
}

function taken<T extends Taintable>(
  ours: readonly T[],
  theirs: readonly T[],
  keyOf: (authority: T) => string,
): readonly T[] {
  const known = new Map(theirs.map((authority) => [keyOf(authority), authority]));
  const kept = ours
    .filter((authority) => !authority.tainted || known.has(keyOf(authority)))
    .map((authority) =>
      known.get(keyOf(authority))?.tainted === true && !authority.tainted
        ? { ...authority, tainted: true }
        : authority,
    );
  const ourKeys = new Set(ours.map(keyOf));
  return [...kept, ...theirs.filter((authority) => !ourKeys.has(keyOf(authority)))];
}

function isSame<T>(before: readonly T[], after: readonly T[]): boolean {
  return before.length === after.length && before.every((one, index) => one === after[index]);
}

function certificateKey({ certificate }: X509Authority): string {
  return Buffer.from(certificate).toString("base64");
}

function jwtKey({ keyId, publicKey }: JwtAuthority): string {
  return JSON.stringify([keyId, Buffer.from(publicKey).toString("base64")]);
}
