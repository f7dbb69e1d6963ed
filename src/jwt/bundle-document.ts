/**
 * The SPIFFE bundle as a document (Trust Domain and Bundle §4): a JWK set whose keys say which kind of SVID they are for. What
 * federation exchanges and the bundle commands show; and the plain JWK set of the Workload API.
 */
import { createPublicKey, type KeyObject } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { Bundle, JwtAuthority, X509Authority } from "#spiffe/bundle.ts";
import { errorText } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";
import { publicJwk, publicKeyFromJwk } from "./jwk.ts";

const X509_SVID_USE = "x509-svid";
const JWT_SVID_USE = "jwt-svid";
/** Takes a millisecond or two. */
const KEYS_AT_ONCE = 64;
const MAX_DOCUMENT_LENGTH = 4 * 1024 * 1024;

type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Reads a bundle document. Keys of an unknown use or type are passed over, as §4.1.3 and §4.2 demand.
 *
 * @throws Error naming the entry that is malformed; a document is taken as a whole or not at all
 */
export function parseBundleDocument(text: string, trustDomain: TrustDomain): Bundle {
  const reading = startReading(text, trustDomain);
  for (const [index, jwk] of reading.keys.entries()) readKey(reading, jwk, index);
  return bundleOf(reading);
}

/** As parseBundleDocument, but lets other work run in between: for documents of strangers, who choose how long they are. */
export async function readBundleDocument(text: string, trustDomain: TrustDomain): Promise<Bundle> {
  const reading = startReading(text, trustDomain);
  for (const [index, jwk] of reading.keys.entries()) {
    if (index % KEYS_AT_ONCE === KEYS_AT_ONCE - 1) await setImmediate();
    readKey(reading, jwk, index);
  }
  return bundleOf(reading);
}

interface Reading {
  readonly trustDomain: TrustDomain;
  readonly document: JsonObject;
  readonly keys: readonly unknown[];
  readonly x509Authorities: X509Authority[];
  readonly jwtAuthorities: Map<string, JwtAuthority>;
}

function startReading(text: string, trustDomain: TrustDomain): Reading {
  const document = parseObject(text);
  const keys = document["keys"];
  // §4.1.3: the parameter must be present; it may be empty.
  if (!Array.isArray(keys)) throw new Error("bundle document has no array of keys");
  return { trustDomain, document, keys, x509Authorities: [], jwtAuthorities: new Map() };
}

function readKey(reading: Reading, jwk: unknown, index: number): void {
  if (!isObject(jwk)) throw new Error(`key entry ${index} is not an object`);
  if (jwk["use"] === X509_SVID_USE) {
    reading.x509Authorities.push(...x509Authority(jwk, index));
  } else if (jwk["use"] === JWT_SVID_USE) {
    addJwtAuthority(reading.jwtAuthorities, jwk, index);
  }
}

function bundleOf({ trustDomain, document, x509Authorities, jwtAuthorities }: Reading): Bundle {
  return {
    trustDomain,
    x509Authorities,
    jwtAuthorities: [...jwtAuthorities.values()],
    witAuthorities: [],
    refreshHint: wholeNumber(document, "spiffe_refresh_hint"),
    sequenceNumber: wholeNumber(document, "spiffe_sequence"),
  };
}

/** Writes a bundle as the reference prints it: indented by four spaces, no final newline, zero values left out. */
export function formatBundleDocument(bundle: Bundle): string {
  const x509Keys = bundle.x509Authorities.map(({ certificate }) => ({
    use: X509_SVID_USE,
    ...publicJwk(Certificate.parse(certificate).publicKey),
    x5c: [Buffer.from(certificate).toString("base64")],
  }));
  const jwtKeys = bundle.jwtAuthorities.map((authority) => ({
    use: JWT_SVID_USE,
    ...publicJwk(publicKeyOf(authority), authority),
  }));
  const document = {
    keys: [...x509Keys, ...jwtKeys],
    ...(bundle.sequenceNumber === 0 ? {} : { spiffe_sequence: bundle.sequenceNumber }),
    ...(bundle.refreshHint === 0 ? {} : { spiffe_refresh_hint: bundle.refreshHint }),
  };
  return JSON.stringify(document, undefined, 4);
}

/** The keys for JWT-SVIDs as a plain JWK set, which is what the Workload API hands to workloads (Workload API §6.2.2). */
export function formatJwtKeySet(bundle: Bundle): string {
  const keys = bundle.jwtAuthorities.map((authority) =>
    publicJwk(publicKeyOf(authority), authority),
  );
  return JSON.stringify({ keys }, undefined, 4);
}

/** The keys of a bundle by their IDs, ready to verify JWT-SVIDs with. */
export function jwtKeysOf(bundle: Bundle): ReadonlyMap<string, KeyObject> {
  return new Map(bundle.jwtAuthorities.map((one) => [one.keyId, publicKeyOf(one)]));
}

function publicKeyOf({ publicKey }: JwtAuthority): KeyObject {
  return createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
}

/** The authority of an entry, or none where X509-SVID §6.2 says to pass it over. */
function x509Authority(entry: JsonObject, index: number): X509Authority[] {
  const { x5c } = entry;
  if (x5c === undefined || (Array.isArray(x5c) && x5c.length === 0)) return [];
  try {
    const stated = publicKeyFromJwk(entry);
    if (stated === undefined) return [];
    // X509-SVID §6.2: only the first certificate counts.
    const certificate = certificateOf(Array.isArray(x5c) ? x5c[0] : undefined);
    // RFC 7517 §4.7: the key beside the certificate must be the certificate's.
    if (!stated.equals(certificate.publicKey)) throw new Error("the certificate has another key");
    return [{ certificate: certificate.der, tainted: false }];
  } catch (error) {
    throw new Error(`x509-svid entry ${index}: ${errorText(error)}`);
  }
}

function certificateOf(encoded: unknown): Certificate {
  if (typeof encoded !== "string" || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) {
    throw new Error("x5c holds no certificate in base64");
  }
  return Certificate.parse(new Uint8Array(Buffer.from(encoded, "base64")));
}

function addJwtAuthority(found: Map<string, JwtAuthority>, entry: JsonObject, index: number): void {
  const { kid } = entry;
  // JWT-SVID §6.1.
  if (typeof kid !== "string" || kid === "") {
    throw new Error(`missing key ID in jwt-svid entry ${index}`);
  }
  const publicKey = entryKey(entry, index)?.export({ type: "spki", format: "der" });
  if (publicKey === undefined) return;
  const known = found.get(kid);
  // Two keys under one ID: which of them verifies a token would be left to chance.
  if (known !== undefined && Buffer.compare(known.publicKey, publicKey) !== 0) {
    throw new Error(`jwt-svid entry ${index} has the key ID of another key`);
  }
  found.set(kid, { keyId: kid, publicKey, expiresAt: 0, tainted: false });
}

function entryKey(entry: JsonObject, index: number): KeyObject | undefined {
  try {
    return publicKeyFromJwk(entry);
  } catch (error) {
    throw new Error(`jwt-svid entry ${index}: ${errorText(error)}`);
  }
}

function parseObject(text: string): JsonObject {
  if (text.length > MAX_DOCUMENT_LENGTH) throw new Error("bundle document is too large");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`bundle document is not JSON: ${errorText(error)}`);
  }
  if (!isObject(value)) throw new Error("bundle document is not a JSON object");
  return value;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** 0 when absent. Beyond what a number holds exactly, the greatest such number: §4.1.1 sets no upper limit. */
function wholeNumber(document: JsonObject, name: string): number {
  const value = document[name];
  if (value === undefined) return 0;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0) {
    throw new Error(`${name} must be an integer, 0 or greater`);
  }
  return Math.min(value, Number.MAX_SAFE_INTEGER);
}
