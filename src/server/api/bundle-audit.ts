import { createHash } from "node:crypto";
import type { JWTKey, X509Certificate } from "#grpc/gen/spire/api/types/bundle.ts";
import type { LogFields } from "#log/log.ts";

/** What the audit log says about authorities: fingerprints and key IDs, numbered. */
export function authorityFields(
  x509Authorities: readonly X509Certificate[],
  jwtAuthorities: readonly JWTKey[],
): LogFields {
  const fields: Record<string, unknown> = {};
  for (const [index, { asn1 }] of x509Authorities.entries()) {
    fields[`x509_authorities_asn1_sha256.${index}`] = sha256(asn1);
  }
  for (const [index, { keyId, expiresAt, publicKey }] of jwtAuthorities.entries()) {
    fields[`jwt_authority_key_id.${index}`] = keyId;
    fields[`jwt_authority_expires_at.${index}`] = expiresAt;
    fields[`jwt_authority_public_key_sha256.${index}`] = sha256(publicKey);
  }
  return fields;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
