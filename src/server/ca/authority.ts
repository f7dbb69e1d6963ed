/** The two kinds of authority: an X.509 CA with its chain, and a key for JWT-SVIDs. Both live in one of two slots. */
import type { ManagedKey } from "#keymanager/key-manager.ts";
import type { Certificate } from "#x509/certificate.ts";
import { authorityKeyIdExtension } from "#x509/extensions.ts";
import { subjectKeyIdOf } from "#x509/issue.ts";

export type Slot = "A" | "B";

/** What rotation needs to know of an authority. */
export interface Authority {
  readonly slot: Slot;
  /** How operators name it: the subject key ID in hex, or the key ID. */
  readonly authorityId: string;
  /** Unix seconds. */
  readonly issuedAt: number;
  readonly notAfter: number;
}

export interface X509Ca extends Authority {
  readonly key: ManagedKey;
  readonly certificate: Certificate;
  /** What SVIDs carry besides the leaf: empty below a self-signed CA, the CA and what lies above it below an upstream. DER. */
  readonly chain: readonly Uint8Array[];
  /** The AKI extension of whatever it signs, encoded once. */
  readonly authorityKeyId: Uint8Array;
}

export interface JwtKey extends Authority {
  readonly key: ManagedKey;
}

/** @param chain the CA's own certificate first when an upstream signed it; empty when it is a root itself */
export function x509Ca(
  slot: Slot,
  key: ManagedKey,
  certificate: Certificate,
  chain: readonly Uint8Array[],
  issuedAt: number,
): X509Ca {
  const keyId = certificate.extensions.subjectKeyId ?? subjectKeyIdOf(certificate.publicKeySpki);
  return {
    slot,
    key,
    certificate,
    chain,
    issuedAt,
    authorityId: Buffer.from(keyId).toString("hex"),
    notAfter: certificate.notAfter,
    authorityKeyId: authorityKeyIdExtension(keyId),
  };
}
