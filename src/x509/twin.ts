/**
 * Two certificates that differ in nothing but their signature. Whoever has a signature (r, s) by ECDSA can make another that verifies as well,
 * (r, n − s), without the key (SEC 1 §4.1.4 takes both): the same certificate by all that is signed, with another fingerprint. Signatures
 * by RSA and Ed25519 have no such twin, and another encoding of the same signature does not verify.
 */
import { DerError, type DerReader, der, derUnsigned, readDer, Tag } from "./der.ts";

/** Of P-256, P-384 and P-521 (SEC 2 §2.4.2, §2.5.1, §2.6.1). */
const ORDERS: readonly bigint[] = [
  0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
];

/**
 * The other forms that a certificate may have. The curve is not asked for, as who signed it may be unknown here: of the forms, one at most
 * verifies.
 *
 * @param certificate DER
 * @returns DER; empty unless it is signed by ECDSA
 * @throws DerError when it is no certificate
 */
export function twinCertificates(certificate: Uint8Array): Uint8Array[] {
  const parts = readDer(certificate, Tag.SEQUENCE);
  const tbs = parts.next(Tag.SEQUENCE).bytes;
  const algorithm = parts.next(Tag.SEQUENCE).bytes;
  const pair = signaturePair(parts.next(Tag.BIT_STRING).content.subarray(1));
  if (pair === undefined) return [];
  const [r, s] = pair;
  return ORDERS.filter((order) => r < order && s < order).map((order) => {
    const signature = der(Tag.SEQUENCE, integer(r), integer(order - s));
    return der(Tag.SEQUENCE, tbs, algorithm, der(Tag.BIT_STRING, Uint8Array.of(0), signature));
  });
}

/** Ecdsa-Sig-Value (RFC 3279 §2.2.3); undefined for what signatures of other kinds look like. */
function signaturePair(signature: Uint8Array): readonly [r: bigint, s: bigint] | undefined {
  try {
    const pair = readDer(signature, Tag.SEQUENCE);
    const both = [positive(pair), positive(pair)] as const;
    pair.end();
    return both;
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
}

function positive(reader: DerReader): bigint {
  const { content } = reader.next(Tag.INTEGER);
  const number = BigInt(`0x${Buffer.from(content).toString("hex") || "0"}`);
  if (number === 0n) throw new DerError("not a number of a signature");
  return number;
}

function integer(number: bigint): Uint8Array {
  const digits = number.toString(16);
  return derUnsigned(Buffer.from(digits.padStart(digits.length + (digits.length % 2), "0"), "hex"));
}
