/** Verifies the signature over a certificate or request. */
import { constants, type KeyObject, type VerifyKeyObjectInput, verify } from "node:crypto";
import { DerReader, oidText, readDer, Tag } from "./der.ts";
import { Oid } from "./oid.ts";

/** RSA below 2048 bits is too weak to trust, above 8192 too slow to verify for strangers. */
const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 8192;

interface Algorithm {
  readonly digest: string | undefined;
  readonly keyType: string;
  /** RSASSA-PSS with a salt of so many bytes, instead of PKCS #1 v1.5. */
  readonly saltLength?: number;
}

/** What stands for the digest when the parameters are others than verifySignature knows. */
const UNSUPPORTED = "unsupported";

/** RSASSA-PSS is one OID whatever the digest; it is named here as `OID/OID of the digest`. */
const pssName = (digest: string): string => `${Oid.rsassaPss}/${digest}`;

/** SHA-1 and MD5 are not here: such signatures are refused. */
const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  [Oid.sha256WithRsa]: { digest: "sha256", keyType: "rsa" },
  [Oid.sha384WithRsa]: { digest: "sha384", keyType: "rsa" },
  [Oid.sha512WithRsa]: { digest: "sha512", keyType: "rsa" },
  [pssName(Oid.sha256)]: { digest: "sha256", keyType: "rsa", saltLength: 32 },
  [pssName(Oid.sha384)]: { digest: "sha384", keyType: "rsa", saltLength: 48 },
  [pssName(Oid.sha512)]: { digest: "sha512", keyType: "rsa", saltLength: 64 },
  [Oid.ecdsaWithSha256]: { digest: "sha256", keyType: "ec" },
  [Oid.ecdsaWithSha384]: { digest: "sha384", keyType: "ec" },
  [Oid.ecdsaWithSha512]: { digest: "sha512", keyType: "ec" },
  [Oid.ed25519]: { digest: undefined, keyType: "ed25519" },
};

/**
 * How verifySignature calls the algorithm of an AlgorithmIdentifier: its OID, for RSASSA-PSS with the digest. PSS parameters other
 * than those that RFC 4055 §3.1 recommends get a name that no algorithm has.
 *
 * @throws DerError
 */
export function signatureAlgorithmOf(identifier: Uint8Array): string {
  const reader = readDer(identifier, Tag.SEQUENCE);
  const oid = oidText(reader.next(Tag.OID).content);
  return oid === Oid.rsassaPss && !reader.done ? pssName(pssDigest(reader)) : oid;
}

/**
 * The digest of RSASSA-PSS-params (RFC 4055 §3.1), if MGF1 uses it too and the salt is as long as its output. What stands for
 * itself by being left out, SHA-1 and a salt of 20 bytes, is not supported either.
 */
function pssDigest(reader: DerReader): string {
  const params = reader.enter(Tag.SEQUENCE);
  const [hash, mask, salt] = [0xa0, 0xa1, 0xa2].map((tag) => params.optional(tag)?.content);
  // The trailer field has one value, the default, which DER does not write.
  params.end();
  if (hash === undefined || mask === undefined || salt === undefined) return UNSUPPORTED;
  const digest = firstOid(readDer(hash, Tag.SEQUENCE));
  const maskFields = readDer(mask, Tag.SEQUENCE);
  const maskOid = firstOid(maskFields);
  const maskDigest = firstOid(maskFields.enter(Tag.SEQUENCE));
  const [saltLength] = new DerReader(salt).next(Tag.INTEGER).content;
  const wanted = ALGORITHMS[pssName(digest)]?.saltLength;
  const sound = maskOid === Oid.mgf1 && maskDigest === digest && saltLength === wanted;
  return sound ? digest : UNSUPPORTED;
}

function firstOid(reader: DerReader): string {
  return oidText(reader.next(Tag.OID).content);
}

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

/** Whether signatures by this algorithm count; SHA-1 and MD5 do not. @param algorithmName as signatureAlgorithmOf gives it */
export function isSoundAlgorithm(algorithmName: string): boolean {
  return Object.hasOwn(ALGORITHMS, algorithmName);
}

/** Verifies on this thread; for chains, whose results are cached by their callers. */
export function verifySignature(
  algorithmName: string,
  key: KeyObject,
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  const algorithm = ALGORITHMS[algorithmName];
  if (algorithm === undefined || algorithm.keyType !== key.asymmetricKeyType) return false;
  return verify(algorithm.digest, data, keyInput(algorithm, key), signature);
}

function keyInput({ saltLength }: Algorithm, key: KeyObject): KeyObject | VerifyKeyObjectInput {
  return saltLength === undefined
    ? key
    : { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };
}

/** Verifies on the thread pool; for requests, which strangers send in numbers. */
export function verifySignatureAsync(
  algorithmName: string,
  key: KeyObject,
  data: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const algorithm = ALGORITHMS[algorithmName];
  if (algorithm === undefined || algorithm.keyType !== key.asymmetricKeyType)
    return Promise.resolve(false);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  verify(algorithm.digest, data, keyInput(algorithm, key), signature, (error, valid) =>
    resolve(error === null && valid),
  );
  return promise;
}
