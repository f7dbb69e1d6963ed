/** Signs JWT-SVIDs (JWT-SVID §2-3) with a key that may live anywhere, which is why no library does it. */
import type { KeyType, Signer } from "#x509/signer.ts";

/** The `alg` of tokens signed by keys of the type (RFC 7518 §3.1). */
export function jwtAlgorithmOf(keyType: KeyType): "ES256" | "ES384" | "RS256" {
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

export interface JwtFields {
  readonly signer: Signer;
  readonly keyId: string;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** A signed token in compact form. It is a secret: whoever holds it is its subject. */
export async function signJwt({ signer, keyId, claims }: JwtFields): Promise<string> {
  const algorithm = jwtAlgorithmOf(signer.keyType);
  const header = encode(JSON.stringify({ alg: algorithm, kid: keyId, typ: "JWT" }));
  const signingInput = `${header}.${encode(JSON.stringify(claims))}`;
  const signature = await signer.sign(new TextEncoder().encode(signingInput));
  return `${signingInput}.${encode(algorithm === "RS256" ? signature : rawEcdsa(signature, signer.keyType))}`;
}

function encode(data: string | Uint8Array): string {
  return Buffer.from(data).toString("base64url");
}

/** From DER to the two numbers side by side that JWS wants (RFC 7518 §3.4). */
function rawEcdsa(der: Uint8Array, keyType: KeyType): Uint8Array {
  const size = keyType === "ec-p384" ? 48 : 32;
  const raw = new Uint8Array(2 * size);
  // SEQUENCE { INTEGER r, INTEGER s }: at these sizes every length is one octet.
  let at = 2;
  for (const end of [size, 2 * size]) {
    const length = der[at + 1] ?? 0;
    const number = der.subarray(at + 2, at + 2 + length);
    const digits = number.length > size ? number.subarray(number.length - size) : number;
    raw.set(digits, end - digits.length);
    at += 2 + length;
  }
  return raw;
}
