import { StatusCode, StatusError } from "./status-error.ts";
import type { TrustDomain } from "./trust-domain.ts";

/** A root certificate of a trust domain. */
export interface X509Authority {
  /** The certificate, DER. */
  readonly certificate: Uint8Array;
  /** A tainted authority still verifies, but what it signed is to be replaced. */
  readonly tainted: boolean;
}

/** A key of a trust domain that verifies tokens. */
export interface KeyAuthority {
  readonly keyId: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
  /** Unix seconds; 0 when unknown, as in a federated bundle. */
  readonly expiresAt: number;
  readonly tainted: boolean;
}

/** A key that verifies JWT-SVIDs. */
export type JwtAuthority = KeyAuthority;
/** A key that verifies WIT-SVIDs. */
export type WitAuthority = KeyAuthority;

/** The trust bundle of one trust domain (SPIFFE Trust Domain and Bundle §3-4). */
export interface Bundle {
  readonly trustDomain: TrustDomain;
  readonly x509Authorities: readonly X509Authority[];
  readonly jwtAuthorities: readonly JwtAuthority[];
  /** Known inside the trust domain alone: no bundle document carries them. */
  readonly witAuthorities: readonly WitAuthority[];
  /** Seconds; 0 when the publisher gives none. */
  readonly refreshHint: number;
  readonly sequenceNumber: number;
}

/** A bundle without any authority, to be filled. */
export function emptyBundle(trustDomain: TrustDomain): Bundle {
  return {
    trustDomain,
    x509Authorities: [],
    jwtAuthorities: [],
    witAuthorities: [],
    refreshHint: 0,
    sequenceNumber: 0,
  };
}

/**
 * Whether two bundles of one trust domain say the same, as far as a bundle document can say it: taints and the expiry of JWT keys are not in
 * one. The order of the keys for JWT-SVIDs means nothing, and the reference shuffles it.
 */
export function sameBundle(one: Bundle, other: Bundle): boolean {
  return (
    one.refreshHint === other.refreshHint &&
    one.sequenceNumber === other.sequenceNumber &&
    one.x509Authorities.length === other.x509Authorities.length &&
    one.x509Authorities.every(({ certificate }, index) =>
      sameBytes(certificate, other.x509Authorities[index]?.certificate),
    ) &&
    sameJwtAuthorities(one.jwtAuthorities, other.jwtAuthorities)
  );
}

/**
 * A key ID names one key (JWT-SVID §6.1): whoever knows a token's key by it must not meet another one.
 *
 * @throws StatusError ALREADY_EXISTS when the ID is that of another of the known keys
 */
export function checkKeyId(key: KeyAuthority, known: readonly KeyAuthority[]): void {
  const other = known.find(({ keyId }) => keyId === key.keyId);
  if (other === undefined || sameBytes(other.publicKey, key.publicKey)) return;
  throw new StatusError(
    StatusCode.ALREADY_EXISTS,
    `key ID ${JSON.stringify(key.keyId)} belongs to another key`,
  );
}

function sameJwtAuthorities(one: readonly JwtAuthority[], other: readonly JwtAuthority[]): boolean {
  const keys = new Map(other.map(({ keyId, publicKey }) => [keyId, publicKey]));
  return (
    one.length === other.length &&
    one.every(({ keyId, publicKey }) => sameBytes(publicKey, keys.get(keyId)))
  );
}

function sameBytes(one: Uint8Array, other: Uint8Array | undefined): boolean {
  return other !== undefined && one.length === other.length && one.every((b, i) => b === other[i]);
}
