import type { Bundle, KeyAuthority } from "#spiffe/bundle.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";

/** A bundle as stored: the name of its trust domain, and the rest as one JSON text, a BundleDocument. */
export interface BundleRow {
  trustDomain: string;
  document: string;
}

/** Bytes are base64. */
export interface BundleDocument {
  x509Authorities: { certificate: string; tainted: boolean }[];
  jwtAuthorities: KeyDocument[];
  witAuthorities: KeyDocument[];
  refreshHint: number;
  sequenceNumber: number;
}

/** A key for JWT-SVIDs or WIT-SVIDs. */
export interface KeyDocument {
  keyId: string;
  publicKey: string;
  expiresAt: number;
  tainted: boolean;
}

export function bundleRow(bundle: Bundle): BundleRow {
  const document: BundleDocument = {
    x509Authorities: bundle.x509Authorities.map(({ certificate, tainted }) => ({
      certificate: Buffer.from(certificate).toString("base64"),
      tainted,
    })),
    jwtAuthorities: bundle.jwtAuthorities.map(keyDocument),
    witAuthorities: bundle.witAuthorities.map(keyDocument),
    refreshHint: bundle.refreshHint,
    sequenceNumber: bundle.sequenceNumber,
  };
  return { trustDomain: bundle.trustDomain.name, document: JSON.stringify(document) };
}

/** Only for documents this program wrote; their form is not checked again. */
export function parseDocument(text: string): BundleDocument {
  return JSON.parse(text) as BundleDocument;
}

export function bundleFromRow(row: BundleRow): Bundle {
  const document = parseDocument(row.document);
  return {
    trustDomain: TrustDomain.fromName(row.trustDomain),
    x509Authorities: document.x509Authorities.map(({ certificate, tainted }) => ({
      certificate: bytesOf(certificate),
      tainted,
    })),
    jwtAuthorities: document.jwtAuthorities.map(keyFromDocument),
    witAuthorities: document.witAuthorities.map(keyFromDocument),
    refreshHint: document.refreshHint,
    sequenceNumber: document.sequenceNumber,
  };
}

function keyDocument({ keyId, publicKey, expiresAt, tainted }: KeyAuthority): KeyDocument {
  return { keyId, publicKey: Buffer.from(publicKey).toString("base64"), expiresAt, tainted };
}

function keyFromDocument({ keyId, publicKey, expiresAt, tainted }: KeyDocument): KeyAuthority {
  return { keyId, publicKey: bytesOf(publicKey), expiresAt, tainted };
}

function bytesOf(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, "base64"));
}
