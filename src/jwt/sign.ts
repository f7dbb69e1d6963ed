/**
 * JWT-SVIDs and WIT-SVIDs, signed. The token is put together here rather than by jose, since the private key belongs to a KeyManager and shows
 * itself as a Signer only. What the claims must hold is the caller's business. Called by the CA.
 */
import { DerError, readDer, Tag } from "#x509/der.ts";
import type { KeyType, Signer } from "#x509/signer.ts";

export type JwtAlgorithm = "ES256" | "ES384" | "RS256";

export interface JwtFields {
  readonly signer: Signer;
  /** Goes into the header: verifiers find the key in the bundle by it. */
  readonly keyId: string;
  /** What kind of token it is, for the header. */
  readonly type: "JWT" | "wit+jwt";
  readonly claims: Readonly<Record<string, unknown>>;
}

/** The algorithm that keys of the type sign with (RFC 7518 §3.1). */
function jwtAlgorithmOf(keyType: KeyType): JwtAlgorithm {
  switch (keyType) {
    case "ec-p256":
      return "ES256";
    case "ec-p384":
      return "ES384";
    case "rsa-2048":
    case "rsa-4096":
      return "RS256";
  }
}

/** A signed token in compact serialization (JWT-SVID §5.1). A JWT-SVID is a secret: whoever holds it is its subject. */
export async function signJwt({ signer, keyId, type, claims }: JwtFields): Promise<string> {
  const header = { alg: jwtAlgorithmOf(signer.keyType), kid: keyId, typ: type };
  const input = `${base64url(JSON.stringify(header))}.${base64url(JSON.stringify(claims))}`;
  const signature = await signer.sign(new TextEncoder().encode(input));
  return `${input}.${base64url(jwsSignature(signer.keyType, signature))}`;
}

function jwsSignature(keyType: KeyType, signature: Uint8Array): Uint8Array {
  switch (keyType) {
    case "ec-p256":
      return concatenatedPair(signature, 32);
    case "ec-p384":
      return concatenatedPair(signature, 48);
    case "rsa-2048":
    case "rsa-4096":
      return signature;
  }
}

/** An ECDSA signature in JWS is R and S side by side, each as long as the curve's order (RFC 7518 §3.4), not DER. */
function concatenatedPair(signature: Uint8Array, length: number): Uint8Array {
  const pair = readDer(signature, Tag.SEQUENCE);
  const joined = new Uint8Array(2 * length);
  for (const end of [length, 2 * length]) {
    const integer = pair.next(Tag.INTEGER).content;
    const magnitude = integer[0] === 0 ? integer.subarray(1) : integer;
    if (magnitude.length > length) throw new DerError("signature is too long for its curve");
    joined.set(magnitude, end - magnitude.length);
  }
  pair.end();
  return joined;
}

function base64url(data: string | Uint8Array): string {
  return Buffer.from(data).toString("base64url");
}
