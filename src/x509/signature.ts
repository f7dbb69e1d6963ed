/** Verifies the signature over a certificate or request. */
import { type KeyObject, verify } from "node:crypto";
import { Oid } from "./oid.ts";

/** RSA below 2048 bits is too weak to trust, above 8192 too slow to verify for strangers. */
const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 8192;

interface Algorithm {
  readonly digest: string | undefined;
  readonly keyType: string;
}

/** SHA-1 and MD5 are not here: such signatures are refused. */
const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  [Oid.sha256WithRsa]: { digest: "sha256", keyType: "rsa" },
  [Oid.sha384WithRsa]: { digest: "sha384", keyType: "rsa" },
  [Oid.sha512WithRsa]: { digest: "sha512", keyType: "rsa" },
  [Oid.ecdsaWithSha256]: { digest: "sha256", keyType: "ec" },
  [Oid.ecdsaWithSha384]: { digest: "sha384", keyType: "ec" },
  [Oid.ecdsaWithSha512]: { digest: "sha512", keyType: "ec" },
  [Oid.ed25519]: { digest: undefined, keyType: "ed25519" },
};

/** What is wrong with a public key that is to be trusted or certified, or undefined. */
export function publicKeyProblem(key: KeyObject): string | undefined {
  const details = key.asymmetricKeyDetails;
  switch (key.asymmetricKeyType) {
    case "ed25519":
      return undefined;
    case "ec":
      return ["prime256v1", "secp384r1", "secp521r1"].includes(details?.namedCurve ?? "")
        ? undefined
        : `elliptic curve ${details?.namedCurve ?? "unknown"} is not supported`;
    case "rsa": {
      const bits = details?.modulusLength ?? 0;
      return bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS
        ? undefined
        : `RSA key of ${bits} bits; ${MIN_RSA_BITS} to ${MAX_RSA_BITS} are supported`;
    }
    default:
      return `public key of type ${key.asymmetricKeyType ?? "unknown"} is not supported`;
  }
}

/** Verifies on this thread; for chains, whose results are cached by their callers. */
export function verifySignature(
  algorithmOid: string,
  key: KeyObject,
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  const algorithm = ALGORITHMS[algorithmOid];
  if (algorithm === undefined || algorithm.keyType !== key.asymmetricKeyType) return false;
  return verify(algorithm.digest, data, key, signature);
}

/** Verifies on the thread pool; for requests, which strangers send in numbers. */
export function verifySignatureAsync(
  algorithmOid: string,
  key: KeyObject,
  data: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const algorithm = ALGORITHMS[algorithmOid];
  if (algorithm === undefined || algorithm.keyType !== key.asymmetricKeyType)
    return Promise.resolve(false);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  verify(algorithm.digest, data, key, signature, (error, valid) =>
    resolve(error === null && valid),
  );
  return promise;
}
