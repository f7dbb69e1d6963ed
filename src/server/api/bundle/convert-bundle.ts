import { createPublicKey } from "node:crypto";
import {
  type BundleMask,
  Bundle as BundleMessage,
  type JWTKey,
  type X509Certificate,
} from "#proto/spire/api/types/bundle.ts";
import { maskedMessage } from "#server/message/output-mask.ts";
import {
  type Bundle,
  checkKeyId,
  type JwtAuthority,
  type KeyAuthority,
  type X509Authority,
} from "#spiffe/bundle.ts";
import { problemText } from "#spiffe/spiffe-id-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";
import { splitCertificates } from "#x509/der.ts";

/** The bundle as a message, holding what the mask asks for; without a mask, everything. */
export function bundleMessage(bundle: Bundle, mask: BundleMask | undefined): BundleMessage {
  const message: BundleMessage = {
    trustDomain: bundle.trustDomain.name,
    x509Authorities: bundle.x509Authorities.map(({ certificate, tainted }) => ({
      asn1: certificate,
      tainted,
    })),
    jwtAuthorities: keyMessages(bundle.jwtAuthorities),
    refreshHint: bundle.refreshHint,
    sequenceNumber: bundle.sequenceNumber,
    witAuthorities: keyMessages(bundle.witAuthorities),
  };
  return maskedMessage(message, mask, BundleMessage.fromPartial({}));
}

/** Keys for JWT-SVIDs or WIT-SVIDs: their messages have the same fields. */
export function keyMessages(authorities: readonly KeyAuthority[]): JWTKey[] {
  return authorities.map(({ publicKey, keyId, expiresAt, tainted }) => ({
    publicKey,
    keyId,
    expiresAt,
    tainted,
  }));
}

/** Reads a bundle. @throws Error naming what is wrong */
export function bundleFrom(message: BundleMessage): Bundle {
  return {
    trustDomain: TrustDomain.parse(message.trustDomain),
    x509Authorities: reading("unable to parse X.509 authority", () =>
      x509AuthoritiesFrom(message.x509Authorities),
    ),
    jwtAuthorities: reading("unable to parse JWT authority", () =>
      jwtAuthoritiesFrom(message.jwtAuthorities),
    ),
    // As in the reference: nobody but the CA Manager brings keys for WIT-SVIDs into a bundle.
    witAuthorities: [],
    refreshHint: message.refreshHint,
    sequenceNumber: message.sequenceNumber,
  };
}

/**
 * Reads X.509 authorities; one field may hold several certificates. Whoever adds an authority cannot say that it is
 * tainted: only the server that owns it can.
 *
 * @throws Error
 */
export function x509AuthoritiesFrom(messages: readonly X509Certificate[]): X509Authority[] {
  return messages.flatMap(({ asn1 }) =>
    splitCertificates(asn1).map((der) => ({
      certificate: Certificate.parse(der).der,
      tainted: false,
    })),
  );
}

/** Reads JWT authorities. @throws Error also for two keys under one ID */
export function jwtAuthoritiesFrom(messages: readonly JWTKey[]): JwtAuthority[] {
  const found = messages.map(({ publicKey, keyId, expiresAt }) => {
    checkPublicKey(publicKey);
    if (keyId === "") throw new Error("missing key ID");
    return { publicKey, keyId, expiresAt, tainted: false };
  });
  for (const key of found) checkKeyId(key, found);
  return found;
}

function checkPublicKey(spki: Uint8Array): void {
  try {
    createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  } catch (error) {
    throw new Error("malformed public key", { cause: error });
  }
}

function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Error(`${what}: ${problemText(error)}`, { cause: error });
  }
}
