/** The proof of possession: a signature over SHA-256 of both nonces, the server's first, so that neither side alone chooses what is signed. */
import { constants, type KeyObject, sign, verify } from "node:crypto";
import type { Challenge, ChallengeResponse } from "./payload.ts";

/** RSA goes with RSASSA-PSS and a salt of any length, ECDSA with the curves that have these many bytes a number. */
const CURVE_BYTES: Readonly<Record<string, number>> = {
  prime256v1: 32,
  secp384r1: 48,
  secp521r1: 66,
};

/** The algorithm a key proves itself with. @throws Error for keys of other kinds */
export function proofAlgorithm(key: KeyObject): Challenge["algorithm"] {
  if (key.asymmetricKeyType === "rsa") return "rsa";
  if (key.asymmetricKeyType === "ec" && curveBytes(key) !== undefined) return "ecdsa";
  throw new Error(
    `unsupported key of type ${key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType}`,
  );
}

/** Signs on the thread pool. */
export function answerChallenge(
  privateKey: KeyObject,
  challenge: Challenge,
  nonce: Uint8Array,
): Promise<ChallengeResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<ChallengeResponse>();
  sign("sha256", combined(challenge, nonce), signingInput(privateKey), (error, signature) => {
    if (error) reject(new Error("the private key cannot sign"));
    else if (challenge.algorithm === "rsa") resolve({ algorithm: "rsa", nonce, signature });
    else {
      const half = signature.length / 2;
      const [r, s] = [signature.subarray(0, half), signature.subarray(half)].map(withoutZeros);
      resolve({ algorithm: "ecdsa", nonce, r: r ?? signature, s: s ?? signature });
    }
  });
  return promise;
}

function signingInput(key: KeyObject) {
  return key.asymmetricKeyType === "rsa"
    ? {
        key,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      }
    : { key, dsaEncoding: "ieee-p1363" as const };
}

/** Whether the response proves that its sender holds the private key. Verifies on the thread pool. */
export function verifyResponse(
  publicKey: KeyObject,
  challenge: Challenge,
  response: ChallengeResponse,
): Promise<boolean> {
  const signature = response.algorithm === "rsa" ? response.signature : joined(publicKey, response);
  if (signature === undefined) return Promise.resolve(false);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const data = combined(challenge, response.nonce);
  verify("sha256", data, verifyingInput(publicKey), signature, (error, valid) =>
    resolve(error === null && valid),
  );
  return promise;
}

function verifyingInput(key: KeyObject) {
  return key.asymmetricKeyType === "rsa"
    ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO }
    : { key, dsaEncoding: "ieee-p1363" as const };
}

function combined({ nonce: challenger }: Challenge, responder: Uint8Array): Uint8Array {
  return Buffer.concat([challenger, responder]);
}

/** r and s side by side, each filled up to the size of the curve; undefined when one is larger than that. */
function joined(
  key: KeyObject,
  { r, s }: Extract<ChallengeResponse, { algorithm: "ecdsa" }>,
): Uint8Array | undefined {
  const size = curveBytes(key);
  const [short, other] = [withoutZeros(r), withoutZeros(s)];
  if (size === undefined || short.length > size || other.length > size) return undefined;
  const both = new Uint8Array(2 * size);
  both.set(short, size - short.length);
  both.set(other, 2 * size - other.length);
  return both;
}

function withoutZeros(number: Uint8Array): Uint8Array {
  const start = number.findIndex((octet) => octet !== 0);
  return start === -1 ? new Uint8Array() : number.subarray(start);
}

function curveBytes(key: KeyObject): number | undefined {
  return CURVE_BYTES[key.asymmetricKeyDetails?.namedCurve ?? ""];
}
