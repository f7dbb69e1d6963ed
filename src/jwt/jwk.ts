import { createPublicKey, type KeyObject } from "node:crypto";

/** What makes up a public key in a JWK (RFC 7518 §6), by key type and, where there are curves, the curves we know. */
const MEMBERS: Readonly<
  Record<string, { members: readonly string[]; curves?: readonly string[] }>
> = {
  EC: { members: ["crv", "x", "y"], curves: ["P-256", "P-384", "P-521"] },
  RSA: { members: ["n", "e"] },
  // RFC 8037. No JWT-SVID can be signed so, but a CA certificate may have such a key.
  OKP: { members: ["crv", "x"], curves: ["Ed25519"] },
};

/** A public key as a JWK, its members in the order the reference writes them; with a key ID and an algorithm if given. */
export function publicJwk(
  key: KeyObject,
  { keyId, algorithm }: { readonly keyId?: string; readonly algorithm?: string } = {},
): Readonly<Record<string, string>> {
  const { kty, crv, x, y, n, e } = key.export({ format: "jwk" });
  const jwk: Record<string, string> = {};
  for (const [name, value] of Object.entries({
    kty,
    kid: keyId,
    crv,
    alg: algorithm,
    x,
    y,
    n,
    e,
  })) {
    if (value !== undefined) jwk[name] = value;
  }
  return jwk;
}

/** A private key as a JWK, in the same order: a secret. */
export function privateJwk(key: KeyObject): Readonly<Record<string, string>> {
  const { d, p, q, dp, dq, qi } = key.export({ format: "jwk" });
  const jwk: Record<string, string> = { ...publicJwk(key) };
  for (const [name, value] of Object.entries({ d, p, q, dp, dq, qi })) {
    if (value !== undefined) jwk[name] = value;
  }
  return jwk;
}

/**
 * Reads the public key of a JWK. Members of a private key are not looked at.
 *
 * @returns undefined for a key type or curve unknown here, which a reader of bundles must pass over (Trust Domain and Bundle §4.2.1)
 * @throws Error when the key is malformed
 */
export function publicKeyFromJwk(jwk: Readonly<Record<string, unknown>>): KeyObject | undefined {
  const { kty } = jwk;
  if (typeof kty !== "string") throw new Error("key type (kty) is missing");
  const known = Object.hasOwn(MEMBERS, kty) ? MEMBERS[kty] : undefined;
  if (known === undefined || (known.curves && !known.curves.includes(String(jwk["crv"])))) {
    return undefined;
  }
  const key: Record<string, string> = { kty };
  for (const name of known.members) {
    const value = jwk[name];
    if (typeof value !== "string" || !/^[A-Za-z0-9_-]+$/.test(value)) {
      throw new Error(`member ${name} is missing or malformed`);
    }
    key[name] = value;
  }
  try {
    return createPublicKey({ key, format: "jwk" });
  } catch {
    throw new Error("not a public key");
  }
}
