/** The kinds of authority: an X.509 CA with its chain, a key for JWT-SVIDs, a key for WIT-SVIDs. Each lives in a slot, with one key. */

import type { ManagedKey } from "#keymanager/key-manager.ts";
import type { LogFields } from "#log/log.ts";
import type { KeyAuthority } from "#spiffe/bundle.ts";
import type { Certificate } from "#x509/certificate.ts";
import { authorityKeyIdExtension } from "#x509/extensions.ts";
import { isoTime } from "#x509/iso-time.ts";
import { subjectKeyIdOf } from "#x509/issue.ts";

/** The third one is for the key of a request that waits for a signature, while one CA signs and another is prepared. */
export type Slot = "A" | "B" | "C";

/** What rotation and operators need to know of an authority. */
export interface Authority {
  readonly slot: Slot;
  /** How operators name it: the subject key ID in hex, or the key ID. */
  readonly authorityId: string;
  /** The subject key ID, in hex, of what signed it; empty for a root and for a key that signs tokens. */
  readonly upstreamAuthorityId: string;
  /** Unix seconds. */
  readonly issuedAt: number;
  readonly notAfter: number;
  /** How long it was to live, in seconds, where this server had a say; what is above it may have given less. */
  readonly ttlSeconds?: number | undefined;
}

export interface X509Ca extends Authority {
  readonly key: ManagedKey;
  readonly certificate: Certificate;
  /** What SVIDs carry besides the leaf: empty below a self-signed CA, the CA and what lies above it below an upstream. DER. */
  readonly chain: readonly Uint8Array[];
  /** What signed it, as the UpstreamAuthority names it; empty when it is a root. */
  readonly upstreamVersion: string;
  /** The AKI extension of whatever it signs, encoded once. */
  readonly authorityKeyId: Uint8Array;
}

/** A key for JWT-SVIDs, or for WIT-SVIDs. */
export interface TokenKey extends Authority {
  readonly key: ManagedKey;
}

/** The key as the trust bundle has it. */
export function keyAuthorityOf({ authorityId, key, notAfter }: TokenKey): KeyAuthority {
  return { keyId: authorityId, publicKey: key.publicKeySpki, expiresAt: notAfter, tainted: false };
}

export interface X509CaParts {
  readonly slot: Slot;
  readonly key: ManagedKey;
  readonly certificate: Certificate;
  /** The CA's own certificate first when an upstream signed it; empty when it is a root itself. */
  readonly chain: readonly Uint8Array[];
  readonly issuedAt: number;
  readonly upstreamVersion: string;
  readonly ttlSeconds?: number | undefined;
}

export function x509Ca(parts: X509CaParts): X509Ca {
  const { certificate } = parts;
  return {
    ...parts,
    ...x509AuthorityIds(certificate),
    notAfter: certificate.notAfter,
    authorityKeyId: authorityKeyIdExtension(subjectKeyId(certificate)),
  };
}

/** How operators name a CA and what signed it. */
export function x509AuthorityIds(
  certificate: Certificate,
): Pick<Authority, "authorityId" | "upstreamAuthorityId"> {
  return {
    authorityId: hex(subjectKeyId(certificate)),
    upstreamAuthorityId: hex(certificate.extensions.authorityKeyId ?? new Uint8Array()),
  };
}

/** What the log says about an authority, in the reference's field names. */
export function authorityFields(authority: Authority): LogFields {
  const { slot, authorityId, upstreamAuthorityId, issuedAt, notAfter } = authority;
  return {
    slot,
    issued_at: isoTime(issuedAt),
    expiration: isoTime(notAfter),
    local_authority_id: authorityId,
    ...(upstreamAuthorityId === "" ? {} : { upstream_authority_id: upstreamAuthorityId }),
  };
}

/** How the CA for a key is called if its signer makes the subject key ID as usual. */
export function likelyAuthorityId({ publicKeySpki }: Pick<ManagedKey, "publicKeySpki">): string {
  return hex(subjectKeyIdOf(publicKeySpki));
}

function subjectKeyId({ extensions, publicKeySpki }: Certificate): Uint8Array {
  return extensions.subjectKeyId ?? subjectKeyIdOf(publicKeySpki);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
