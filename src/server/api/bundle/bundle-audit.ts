import { createHash } from "node:crypto";
import type { LogFields } from "#log/log.ts";
import type { JWTKey, X509Certificate } from "#proto/spire/api/types/bundle.ts";
import { momentField } from "#x509/iso-time.ts";

/** What the audit log says about authorities: fingerprints and key IDs, numbered. */
export function authorityFields(
  x509Authorities: readonly X509Certificate[],
  jwtAuthorities: readonly JWTKey[],
): LogFields {
  const fields: Record<string, unknown> = {};
  for (const [index, { asn1 }] of x509Authorities.entries()) {
    fields[`x509_authorities_asn1_sha256.${index}`] = sha256(asn1);
  }
  for (const [index, message] of jwtAuthorities.entries()) {
    for (const [name, value] of Object.entries(jwtAuthorityFields(message))) {
      fields[`${name}.${index}`] = value;
    }
  }
  return fields;
}

/** What it says about one key for JWT-SVIDs. */
export function jwtAuthorityFields({ keyId, expiresAt, publicKey }: JWTKey): LogFields {
  return {
    jwt_authority_key_id: keyId,
    jwt_authority_expires_at: momentField(expiresAt),
    jwt_authority_public_key_sha256: sha256(publicKey),
  };
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
