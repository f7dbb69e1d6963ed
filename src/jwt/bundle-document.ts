/** Trust bundles as documents: the JWK set of SPIFFE Trust Domain and Bundle §4, and the plain one of the Workload API. */
import { createPublicKey, type JsonWebKey, type KeyObject } from "node:crypto";
import { type Bundle, emptyBundle, type JwtAuthority, type X509Authority } from "#spiffe/bundle.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";

const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;

/**
 * Reads a bundle document. Keys of an unknown use are skipped, as §4.2.2 asks.
 *
 * @throws Error naming the key that is wrong
 */
export function parseBundleDocument(text: string, trustDomain: TrustDomain): Bundle {
  if (text.length > MAX_DOCUMENT_BYTES) throw new Error("bundle document is too large");
  const document = parseObject(text);
  const keys = document["keys"];
  if (!Array.isArray(keys))
    throw new Error("no authorities found: the bundle document has no keys");
  const x509Authorities: X509Authority[] = [];
  const jwtAuthorities: JwtAuthority[] = [];
  keys.forEach((key: unknown, index) => {
    if (!isObject(key)) throw new Error(`key ${index} of the bundle document is not an object`);
    if (key["use"] === "x509-svid") x509Authorities.push(x509Authority(key, index));
    else if (key["use"] === "jwt-svid") jwtAuthorities.push(jwtAuthority(key, index));
  });
  return {
    ...emptyBundle(trustDomain),
    x509Authorities,
    jwtAuthorities,
    refreshHint: count(document, "spiffe_refresh_hint"),
    sequenceNumber: count(document, "spiffe_sequence"),
  };
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const document: unknown = JSON.parse(text);
    if (isObject(document)) return document;
  } catch {
    // Reported below, like any other text that is not an object.
  }
  throw new Error("unable to parse bundle document: it is not a JSON object");
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function count(document: Readonly<Record<string, unknown>>, name: string): number {
  const value = document[name] ?? 0;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw new Error(`${name} of the bundle document is not a whole number`);
  }
  return value;
}

/** §4.2.1: exactly one certificate, in x5c. */
function x509Authority(key: Readonly<Record<string, unknown>>, index: number): X509Authority {
  const chain = key["x5c"];
  if (!Array.isArray(chain) || chain.length !== 1 || typeof chain[0] !== "string") {
    throw new Error(
      `expected a single certificate in x509-svid entry ${index}; got ${Array.isArray(chain) ? chain.length : 0}`,
    );
  }
  const certificate = Buffer.from(chain[0], "base64");
  Certificate.parse(certificate);
  return { certificate, tainted: key["spiffe_tainted"] === true };
}

function jwtAuthority(key: Readonly<Record<string, unknown>>, index: number): JwtAuthority {
  const keyId = key["kid"];
  if (typeof keyId !== "string" || keyId === "")
    throw new Error(`error adding authority ${index} of JWKS: keyID cannot be empty`);
  try {
    const publicKey = createPublicKey({ key: key as JsonWebKey, format: "jwk" });
    return {
      keyId,
      publicKey: publicKey.export({ type: "spki", format: "der" }),
      expiresAt: 0,
      tainted: key["spiffe_tainted"] === true,
    };
  } catch {
    throw new Error(
      `key ${index} of the bundle document (${JSON.stringify(keyId)}) is not a valid public key`,
    );
  }
}

/** The document as the reference prints it: four spaces deep, members in its order, empty ones left out. */
export function formatBundleDocument(bundle: Bundle): string {
  const keys = [
    ...bundle.x509Authorities.map(({ certificate }) => ({
      use: "x509-svid",
      ...jwkOf(Certificate.parse(certificate).publicKey),
      x5c: [Buffer.from(certificate).toString("base64")],
    })),
    ...bundle.jwtAuthorities.map(({ keyId, publicKey }) => ({
      use: "jwt-svid",
      ...jwkOf(publicKeyOf(publicKey), keyId),
    })),
  ];
  const document = {
    keys,
    ...(bundle.sequenceNumber === 0 ? {} : { spiffe_sequence: bundle.sequenceNumber }),
    ...(bundle.refreshHint === 0 ? {} : { spiffe_refresh_hint: bundle.refreshHint }),
  };
  return JSON.stringify(document, null, 4);
}

/** The JWT authorities alone, as the Workload API hands them out (Workload API §6.2.2): no use, nothing SPIFFE adds. */
export function formatJwtKeySet(bundle: Bundle): string {
  const keys = bundle.jwtAuthorities.map(({ keyId, publicKey }) =>
    jwkOf(publicKeyOf(publicKey), keyId),
  );
  return JSON.stringify({ keys }, null, 4);
}

/** The JWT authorities as keys by their ID, for verifying. */
export function jwtKeysOf(bundle: Bundle): ReadonlyMap<string, KeyObject> {
  return new Map(
    bundle.jwtAuthorities.map(({ keyId, publicKey }) => [keyId, publicKeyOf(publicKey)]),
  );
}

function publicKeyOf(spki: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
}

/** The members of a JWK in the order the reference writes them: kty, kid, crv, x, y or n, e. */
function jwkOf(key: KeyObject, keyId?: string): Readonly<Record<string, unknown>> {
  const { kty, crv, x, y, n, e } = key.export({ format: "jwk" });
  const members = { kty, kid: keyId, crv, x, y, n, e };
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}
