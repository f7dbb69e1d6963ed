/** Private and public keys: which kinds are allowed, how they are made, read, written, and how they sign. */
import {
  createPrivateKey,
  createPublicKey,
  sign as cryptoSign,
  generateKeyPair,
  type KeyObject,
} from "node:crypto";
import { decodePem, encodePem } from "./pem.ts";
import { publicKeyProblem } from "./signature.ts";
import { type AuthorityKeyType, KEY_TYPES, type KeyType, type Signer } from "./signer.ts";

/**
 * Reads a key type of the configuration.
 *
 * @throws Error listing the known ones
 */
export function parseKeyType(text: string): KeyType {
  const found = KEY_TYPES.find((type) => type === text.toLowerCase());
  if (found === undefined) {
    throw new Error(
      `key type ${JSON.stringify(text)} is unknown; must be one of [${KEY_TYPES.join(", ")}]`,
    );
  }
  return found;
}

/** Makes a new private key off the event loop's thread; RSA takes a while. */
export function generatePrivateKey(type: KeyType): Promise<KeyObject> {
  const { promise, resolve, reject } = Promise.withResolvers<KeyObject>();
  const done = (error: Error | null, _publicKey: KeyObject, privateKey: KeyObject): void => {
    if (error) reject(error);
    else resolve(privateKey);
  };
  switch (type) {
    case "rsa-2048":
      generateKeyPair("rsa", { modulusLength: 2048 }, done);
      break;
    case "rsa-4096":
      generateKeyPair("rsa", { modulusLength: 4096 }, done);
      break;
    case "ec-p256":
      generateKeyPair("ec", { namedCurve: "P-256" }, done);
      break;
    case "ec-p384":
      generateKeyPair("ec", { namedCurve: "P-384" }, done);
      break;
  }
  return promise;
}

/** The type of a key, or undefined when it is none of ours. */
function keyTypeOf(key: KeyObject): KeyType | undefined {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === "rsa") {
    if (details?.modulusLength === 2048) return "rsa-2048";
    return details?.modulusLength === 4096 ? "rsa-4096" : undefined;
  }
  if (key.asymmetricKeyType !== "ec") return undefined;
  if (details?.namedCurve === "prime256v1") return "ec-p256";
  return details?.namedCurve === "secp384r1" ? "ec-p384" : undefined;
}

/**
 * A signer that holds its private key in this process.
 *
 * @throws Error when the key is of a type we do not use
 */
export function signerFromPrivateKey(privateKey: KeyObject): Signer {
  const keyType = keyTypeOf(privateKey);
  if (keyType === undefined) {
    throw new Error(`unsupported key: use one of [${KEY_TYPES.join(", ")}]`);
  }
  return signerOf(privateKey, keyType);
}

/**
 * A signer for the key of an authority that an operator has had for long, and that signs whatever it is.
 *
 * @throws Error when the key is too weak, or of a kind that nothing here verifies
 */
export function authoritySigner(privateKey: KeyObject): Signer<AuthorityKeyType> {
  const problem = publicKeyProblem(createPublicKey(privateKey));
  if (problem !== undefined) throw new Error(problem);
  return signerOf(privateKey, keyTypeOf(privateKey) ?? otherKeyType(privateKey));
}

/** Of a key that is sound, and not of the types of the configuration. */
function otherKeyType({ asymmetricKeyType }: KeyObject): AuthorityKeyType {
  switch (asymmetricKeyType) {
    case "rsa":
      return "rsa";
    case "ed25519":
      return "ed25519";
    default:
      return "ec-p521";
  }
}

function signerOf<Type extends AuthorityKeyType>(
  privateKey: KeyObject,
  keyType: Type,
): Signer<Type> {
  const publicKey = createPublicKey(privateKey);
  const digest = digestOf(keyType);
  return {
    keyType,
    publicKey,
    publicKeySpki: publicKey.export({ type: "spki", format: "der" }),
    sign: (data) => signWith(privateKey, digest, data),
  };
}

/** Undefined where the algorithm has its own (RFC 8410 §1). */
function digestOf(keyType: AuthorityKeyType): string | undefined {
  switch (keyType) {
    case "ec-p384":
      return "sha384";
    case "ec-p521":
      return "sha512";
    case "ed25519":
      return undefined;
    default:
      return "sha256";
  }
}

/** With a callback, node:crypto signs on the thread pool and so uses all cores. */
function signWith(
  privateKey: KeyObject,
  digest: string | undefined,
  data: Uint8Array,
): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  cryptoSign(digest, data, privateKey, (error, signature) => {
    if (error) reject(error);
    else resolve(signature);
  });
  return promise;
}

export function privateKeyToPkcs8Der(key: KeyObject): Uint8Array {
  return key.export({ type: "pkcs8", format: "der" });
}

export function privateKeyToPkcs8Pem(key: KeyObject): string {
  return encodePem("PRIVATE KEY", privateKeyToPkcs8Der(key));
}

/**
 * Reads the first private key of a PEM text: PKCS#8, PKCS#1 or SEC1, not encrypted.
 *
 * @throws Error saying what was found instead; never with any part of the key
 */
export function privateKeyFromPem(text: string): KeyObject {
  const block = decodePem(text).find(({ label }) => label.endsWith("PRIVATE KEY"));
  if (block === undefined) throw new Error("no PEM block of a private key found");
  // RFC 5958 §3, and the older way of RFC 1421 §4.6.1.1.
  if (
    block.label === "ENCRYPTED PRIVATE KEY" ||
    block.headers.get("Proc-Type")?.includes("ENCRYPTED") === true
  ) {
    throw new Error(
      "the private key is encrypted; decrypt it first, with `openssl pkey` for instance",
    );
  }
  const types = {
    "PRIVATE KEY": "pkcs8",
    "RSA PRIVATE KEY": "pkcs1",
    "EC PRIVATE KEY": "sec1",
  } as const;
  const type = Object.entries(types).find(([label]) => label === block.label)?.[1];
  if (type === undefined) throw new Error(`unsupported private key: ${block.label}`);
  try {
    return createPrivateKey({ key: Buffer.from(block.der), format: "der", type });
  } catch {
    throw new Error(`malformed private key (PEM block ${block.label})`);
  }
}
