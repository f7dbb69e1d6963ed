/**
 * The fast path: a certificate assembled from DER parts, most of them made once per issuer, and signed on the thread pool.
 * It checks nothing; server/ca/profile/lint.ts does, before this is called.
 */
import { hash } from "node:crypto";
import { der, derOid, derTime, derUnsigned, readDer, Tag } from "./der.ts";
import { Oid } from "./oid.ts";
import type { AuthorityKeyType, Signer } from "./signer.ts";

export interface CertificateFields {
  /** Big-endian, not zero. */
  readonly serialNumber: Uint8Array;
  /** Name, DER. */
  readonly issuerDer: Uint8Array;
  /** Name, DER. */
  readonly subjectDer: Uint8Array;
  /** Unix seconds. */
  readonly notBefore: number;
  /** Unix seconds. */
  readonly notAfter: number;
  readonly publicKeySpki: Uint8Array;
  /** Each an Extension, DER. */
  readonly extensions: readonly Uint8Array[];
}

const VERSION_3 = der(0xa0, der(Tag.INTEGER, Uint8Array.of(2)));

const ECDSA_SHA256 = der(Tag.SEQUENCE, derOid(Oid.ecdsaWithSha256));
const ECDSA_SHA384 = der(Tag.SEQUENCE, derOid(Oid.ecdsaWithSha384));
const ECDSA_SHA512 = der(Tag.SEQUENCE, derOid(Oid.ecdsaWithSha512));
const ED25519 = der(Tag.SEQUENCE, derOid(Oid.ed25519));
// RFC 4055 §5: the parameters are NULL, not absent.
const RSA_SHA256 = der(Tag.SEQUENCE, derOid(Oid.sha256WithRsa), der(Tag.NULL));

/** The AlgorithmIdentifier of signatures by keys of the type; DER. */
export function algorithmIdentifier(keyType: AuthorityKeyType): Uint8Array {
  switch (keyType) {
    case "ec-p256":
      return ECDSA_SHA256;
    case "ec-p384":
      return ECDSA_SHA384;
    case "ec-p521":
      return ECDSA_SHA512;
    case "ed25519":
      return ED25519;
    case "rsa-2048":
    case "rsa-4096":
    case "rsa":
      return RSA_SHA256;
  }
}

/** Signs a certificate with those fields; DER. */
export async function issueCertificate(
  fields: CertificateFields,
  signer: Signer<AuthorityKeyType>,
): Promise<Uint8Array> {
  const algorithm = algorithmIdentifier(signer.keyType);
  const tbs = der(
    Tag.SEQUENCE,
    VERSION_3,
    derUnsigned(fields.serialNumber),
    algorithm,
    fields.issuerDer,
    der(Tag.SEQUENCE, derTime(fields.notBefore), derTime(fields.notAfter)),
    fields.subjectDer,
    fields.publicKeySpki,
    der(0xa3, der(Tag.SEQUENCE, ...fields.extensions)),
  );
  const signature = await signer.sign(tbs);
  return der(Tag.SEQUENCE, tbs, algorithm, der(Tag.BIT_STRING, Uint8Array.of(0), signature));
}

/** The subject key identifier of a public key: SHA-1 over the bits of the key (RFC 5280 §4.2.1.2, method 1). */
export function subjectKeyIdOf(publicKeySpki: Uint8Array): Uint8Array {
  const spki = readDer(publicKeySpki, Tag.SEQUENCE);
  spki.next(Tag.SEQUENCE);
  const bits = spki.next(Tag.BIT_STRING).content.subarray(1);
  return hash("sha1", bits, "buffer");
}
