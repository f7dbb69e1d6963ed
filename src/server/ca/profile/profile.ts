/** What the certificates of this server look like. */
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import {
  basicConstraintsExtension,
  extKeyUsageExtension,
  KeyUsage,
  keyUsageExtension,
} from "#x509/extensions.ts";
import { encodeName, type NameFields } from "#x509/name.ts";
import { Oid } from "#x509/oid.ts";
import type { KeyType } from "#x509/signer.ts";

/** Certificates start a little in the past, for verifiers whose clock is behind. */
export const NOT_BEFORE_CUSHION_SECONDS = 10;

export interface CaSubject {
  readonly country: readonly string[];
  readonly organization: readonly string[];
  readonly commonName: string;
}

/** What the operator has a say in; what is issued from then on follows a change. */
export interface CaProfile {
  readonly caSubject: CaSubject;
  /** Seconds, all four. */
  readonly caTtlSeconds: number;
  readonly defaultX509SvidTtlSeconds: number;
  readonly defaultJwtSvidTtlSeconds: number;
  readonly agentTtlSeconds: number;
  /** The `iss` of JWT-SVIDs; empty for none. */
  readonly jwtIssuer: string;
}

/** What WIT-SVIDs are like. */
export interface WitSvidProfile {
  /** Of the key that signs them. */
  readonly keyType: KeyType;
  /** The `iss` claim; empty for none. */
  readonly issuer: string;
}

/** The subject of a CA certificate; its serial number, as text, keeps subjects apart. */
export function caSubjectDer(subject: CaSubject, extra: NameFields): Uint8Array {
  return encodeName({ ...subject, ...extra });
}

const SVID_COUNTRY = ["US"];
const SVID_ORGANIZATION = ["SPIRE"];
const DEFAULT_SVID_SUBJECT = encodeName({ country: SVID_COUNTRY, organization: SVID_ORGANIZATION });
/** A Name without parts. */
const EMPTY_NAME_BYTES = 2;

/**
 * The subject of an X509-SVID: what a minting operator asked for, or the default; the first DNS name becomes its common name, which
 * some databases look at.
 */
export function svidSubjectDer(
  asked: Uint8Array | undefined,
  dnsNames: readonly string[],
): Uint8Array {
  if (asked !== undefined && asked.length > EMPTY_NAME_BYTES) return asked;
  const [commonName] = dnsNames;
  if (commonName === undefined) return DEFAULT_SVID_SUBJECT;
  return encodeName({ country: SVID_COUNTRY, organization: SVID_ORGANIZATION, commonName });
}

/** X509-SVID §4.3 for leaves, with what TLS needs besides; the same in every SVID, so encoded once. */
export const SVID_EXTENSIONS: readonly Uint8Array[] = [
  keyUsageExtension(KeyUsage.digitalSignature | KeyUsage.keyEncipherment | KeyUsage.keyAgreement),
  extKeyUsageExtension(Oid.serverAuth, Oid.clientAuth),
  basicConstraintsExtension(false),
];

/** X509-SVID §4.3 for signing certificates: certificates and CRLs, nothing else. */
export const CA_EXTENSIONS: readonly Uint8Array[] = [
  keyUsageExtension(KeyUsage.keyCertSign | KeyUsage.cRLSign),
  basicConstraintsExtension(true),
];

/** What an X509-SVID is to say, before it was checked. */
export interface SvidRequest {
  readonly id: SpiffeId;
  readonly publicKeySpki: Uint8Array;
  readonly subjectDer: Uint8Array;
  readonly dnsNames: readonly string[];
  /** Unix seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
}
