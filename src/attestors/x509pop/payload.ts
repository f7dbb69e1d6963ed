/**
 * What both halves of x509pop put on the wire: JSON with byte strings in base64, as Go writes it. Everything that arrives here was
 * written by somebody who has proved nothing yet.
 */

export const ATTESTATION_TYPE = "x509pop";

const NONCE_BYTES = 32;
/** A chain with a dozen RSA intermediates is 30 KiB of base64. */
const MAX_PAYLOAD_BYTES = 256 * 1024;
/** A signature by an RSA key of 16384 bits is 2 KiB. */
const MAX_ANSWER_BYTES = 16 * 1024;

/** The algorithm follows from the node's key; a nonce is 32 random bytes. */
export interface Challenge {
  readonly algorithm: "rsa" | "ecdsa";
  readonly nonce: Uint8Array;
}

export type ChallengeResponse =
  | { readonly algorithm: "rsa"; readonly nonce: Uint8Array; readonly signature: Uint8Array }
  | {
      readonly algorithm: "ecdsa";
      readonly nonce: Uint8Array;
      /** Big-endian, without leading zeros. */
      readonly r: Uint8Array;
      readonly s: Uint8Array;
    };

export function newNonce(random: { bytes(count: number): Uint8Array }): Uint8Array {
  return random.bytes(NONCE_BYTES);
}

/** @param certificates DER, the node's first, then those that lead towards the trusted root */
export function encodeCertificates(certificates: readonly Uint8Array[]): Uint8Array {
  return encode({ certificates: certificates.map(base64) });
}

/** @throws Error saying what is malformed */
export function decodeCertificates(bytes: Uint8Array): Uint8Array[] {
  const { certificates } = decode(bytes, MAX_PAYLOAD_BYTES);
  if (certificates === undefined || certificates === null) return [];
  if (!Array.isArray(certificates)) throw new Error("certificates is not a list");
  return certificates.map((item) => bytesOf(item, "certificates"));
}

export function encodeChallenge({ algorithm, nonce }: Challenge): Uint8Array {
  return encodeAs(algorithm, { nonce: base64(nonce) });
}

/**
 * @param algorithm what the node's key can answer
 * @throws Error also when the challenge is for another kind of key
 */
export function decodeChallenge(bytes: Uint8Array, algorithm: Challenge["algorithm"]): Challenge {
  return { algorithm, nonce: nonceOf(partFor(algorithm, bytes, "challenge"), "challenge") };
}

export function encodeResponse(response: ChallengeResponse): Uint8Array {
  const nonce = base64(response.nonce);
  return response.algorithm === "rsa"
    ? encodeAs("rsa", { nonce, signature: base64(response.signature) })
    : encodeAs("ecdsa", { nonce, r: base64(response.r), s: base64(response.s) });
}

/**
 * @param algorithm that of the challenge
 * @throws Error also when the response is for another kind of key
 */
export function decodeResponse(
  bytes: Uint8Array,
  algorithm: Challenge["algorithm"],
): ChallengeResponse {
  const part = partFor(algorithm, bytes, "response");
  const nonce = nonceOf(part, "response");
  if (algorithm === "rsa") {
    return { algorithm, nonce, signature: bytesOf(part["signature"], "signature") };
  }
  return { algorithm, nonce, r: bytesOf(part["r"], "r"), s: bytesOf(part["s"], "s") };
}

type JsonObject = Readonly<Record<string, unknown>>;

/** Go writes both parts, null for the one that is not meant. */
function encodeAs(algorithm: Challenge["algorithm"], part: JsonObject): Uint8Array {
  return encode({
    rsa_signature: algorithm === "rsa" ? part : null,
    ecdsa_signature: algorithm === "ecdsa" ? part : null,
  });
}

function encode(value: JsonObject): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function decode(bytes: Uint8Array, limitBytes: number): JsonObject {
  if (bytes.length > limitBytes) throw new Error(`longer than ${limitBytes} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new Error("not JSON");
  }
  return objectOf(value, "the message");
}

function objectOf(value: unknown, what: string): JsonObject {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as JsonObject;
  }
  throw new Error(`${what} is not an object`);
}

function partFor(algorithm: Challenge["algorithm"], bytes: Uint8Array, what: string): JsonObject {
  const name = `${algorithm}_signature`;
  const part = decode(bytes, MAX_ANSWER_BYTES)[name];
  if (part === undefined || part === null) {
    throw new Error(`expecting ${algorithm.toUpperCase()} ${what}`);
  }
  return objectOf(part, name);
}

function nonceOf(part: JsonObject, what: string): Uint8Array {
  const nonce = bytesOf(part["nonce"], "nonce");
  if (nonce.length !== NONCE_BYTES) throw new Error(`invalid ${what} nonce`);
  return nonce;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

/** Strict: Buffer would skip whatever is not base64. */
function bytesOf(value: unknown, what: string): Uint8Array {
  if (typeof value === "string" && value.length % 4 === 0) {
    const bytes = Buffer.from(value, "base64");
    if (base64(bytes) === value) return bytes;
  }
  throw new Error(`${what} is not base64`);
}
