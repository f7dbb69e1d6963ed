import { createPublicKey } from "node:crypto";
import type { Bundle as BundleMessage, JWTKey } from "#proto/spire/api/types/bundle.ts";
import type { JwtAuthority } from "#spiffe/bundle.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import type { UpstreamBundle } from "#upstream/upstream-authority.ts";
import { Certificate } from "#x509/certificate.ts";

/** Reads the bundle of the server above, taints included. @throws Error naming what is wrong */
export function upstreamBundleFrom(
  message: BundleMessage,
  trustDomain: TrustDomain,
): UpstreamBundle {
  if (message.trustDomain !== trustDomain.name) {
    throw new Error(
      `the upstream server is of trust domain "${message.trustDomain}", not of "${trustDomain}"`,
    );
  }
  // It would be a bundle that nobody can be verified with.
  if (message.x509Authorities.length === 0) throw new Error("the bundle holds no X.509 authority");
  return {
    x509Authorities: message.x509Authorities.map(({ asn1, tainted }) => ({
      certificate: Certificate.parse(asn1).der,
      tainted,
    })),
    jwtAuthorities: upstreamJwtKeysFrom(message.jwtAuthorities),
    sequenceNumber: message.sequenceNumber,
  };
}

/** @throws Error */
export function upstreamJwtKeysFrom(messages: readonly JWTKey[]): readonly JwtAuthority[] {
  return messages.map(({ publicKey, keyId, expiresAt, tainted }) => {
    if (keyId === "") throw new Error("a JWT authority has no key ID");
    createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
    return { publicKey, keyId, expiresAt, tainted };
  });
}
