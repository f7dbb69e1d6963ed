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
  const theirKeys = [...upstream.jwtAuthorities.filter(({ keyId }) => !isOwn(keyId)), ...ownKeys];
  const x509Authorities = taken(bundle.x509Authorities, upstream.x509Authorities, certificateKey);
  const named = new Map(theirKeys.map((key) => [key.keyId, jwtKey(key)]));
  // Of two keys under one ID, the upstream's is right.
  const sameNamed = bundle.jwtAuthorities.filter(
    (key) => (named.get(key.keyId) ?? jwtKey(key)) === jwtKey(key),
  );
  const jwtAuthorities = taken(sameNamed, theirKeys, jwtKey);
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

/**
 * What was there at the last look and is gone at this one was tainted and revoked in between, faster than we look. It is taken as tainted for
 * once, so that whoever has something from below it gets the time of one look to replace it.
 *
 * @param last what was taken over last
 */
export function withVanished(
  upstream: UpstreamBundle,
  last: UpstreamBundle | undefined,
): UpstreamBundle {
  // An older bundle is no news: a copy of the upstream's store may lag behind.
  if (last === undefined || upstream.sequenceNumber <= last.sequenceNumber) return upstream;
  return {
    ...upstream,
    x509Authorities: [
      ...upstream.x509Authorities,
      ...vanished(upstream.x509Authorities, last.x509Authorities, certificateKey),
    ],
    jwtAuthorities: [
      ...upstream.jwtAuthorities,
      ...vanished(upstream.jwtAuthorities, last.jwtAuthorities, jwtKey),
    ],
  };
}

function vanished<T extends Taintable>(
  now: readonly T[],
  before: readonly T[],
  keyOf: (authority: T) => string,
): readonly T[] {
  const known = new Set(now.map(keyOf));
  return before
    .filter((authority) => !authority.tainted && !known.has(keyOf(authority)))
    .map((authority) => ({ ...authority, tainted: true }));
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
