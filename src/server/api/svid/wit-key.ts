/** The key that a WIT-SVID is to name: which ones are taken, and what they may sign with. */
import { createPublicKey, type KeyObject } from "node:crypto";
import { readDer, Tag } from "#x509/der.ts";
import { publicKeyProblem } from "#x509/signature.ts";

/** RFC 7518 §3.3 and §3.5. */
const RSA_ALGORITHMS: readonly string[] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

/** RFC 7518 §3.4 has one algorithm for each curve. By the names of node:crypto: the reference's name and the algorithm. */
const CURVES: Readonly<Record<string, readonly [name: string, algorithm: string]>> = {
  prime256v1: ["ec-p256", "ES256"],
  secp384r1: ["ec-p384", "ES384"],
  secp521r1: ["ec-p521", "ES512"],
};

/** @param spki SubjectPublicKeyInfo, DER @throws Error */
export function readPublicKey(spki: Uint8Array): KeyObject {
  try {
    // Before node:crypto, which does not mind what comes behind the key.
    readDer(spki, Tag.SEQUENCE);
    return createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  } catch (error) {
    throw new Error("it is no SubjectPublicKeyInfo in DER", { cause: error });
  }
}

/** @param algorithm as in JWS @throws Error when the key is none for WIT-SVIDs, or does not sign so */
export function checkSigningAlgorithm(key: KeyObject, algorithm: string): void {
  const type = key.asymmetricKeyType ?? "unknown";
  const [name, algorithms] = namesOf(key);
  if (algorithms.length === 0) throw new Error(`unsupported key type '${type}'`);
  if (!algorithms.includes(algorithm)) {
    throw new Error(`unsupported signing algorithm for ${name} key: ${algorithm}`);
  }
  const problem = publicKeyProblem(key);
  if (problem !== undefined) throw new Error(problem);
}

/** What a key is called, and what it may sign with: nothing, if it is of no kind that is taken. */
function namesOf({
  asymmetricKeyType: type,
  asymmetricKeyDetails: details,
}: KeyObject): readonly [name: string, algorithms: readonly string[]] {
  if (type === "rsa") return ["RSA", RSA_ALGORITHMS];
  const curve = type === "ec" ? CURVES[details?.namedCurve ?? ""] : undefined;
  return curve === undefined ? ["", []] : [curve[0], [curve[1]]];
}
