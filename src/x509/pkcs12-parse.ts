/** Opens PKCS#12 files (RFC 7292) on the thread that calls it, for as long as they ask for; `readPkcs12` has a thread of its own for it. */
import { createPrivateKey } from "node:crypto";
import { DerivationError, forge, withIterations } from "./forge.ts";

/** What a file holds, DER. */
export interface Pkcs12Parts {
  /** PKCS#8. */
  readonly privateKeys: readonly Uint8Array[];
  /** In the order of the file, which means nothing. */
  readonly certificates: readonly Uint8Array[];
}

type Bag = forge.pkcs12.Bag;

/** Of all keys of a file together: ten times what anybody writes today, and some seconds of one core. */
const MAX_ITERATIONS = 10_000_000;

const HOW_TO_WRITE =
  "write it anew with AES-256-CBC and a SHA-256 MAC, as `openssl pkcs12 -export` of OpenSSL 3 does";

/**
 * @param password ASCII
 * @throws Error saying why it cannot be opened; never with the password or a part of the key
 */
export function parsePkcs12(bytes: Uint8Array, password: string): Pkcs12Parts {
  const bags = openBags(bytes, password);
  return {
    privateKeys: bags.filter(isKeyBag).map(privateKeyOf),
    certificates: bags.filter(isCertificateBag).map(certificateOf),
  };
}

function openBags(bytes: Uint8Array, password: string): Bag[] {
  let outer: forge.asn1.Asn1;
  try {
    outer = forge.asn1.fromDer(Buffer.from(bytes).toString("binary"));
  } catch {
    throw new Error("it is not a PKCS#12 file");
  }
  try {
    const { safeContents } = withIterations(MAX_ITERATIONS, () =>
      forge.pkcs12.pkcs12FromAsn1(outer, password),
    );
    return safeContents.flatMap(({ safeBags }) => safeBags);
  } catch (error) {
    throw reason(error, outer);
  }
}

/** RFC 7292 §4: version 3, the content, and a MAC where there is one. */
interface Outer {
  readonly isPfx: boolean;
  readonly hasMac: boolean;
}

function outerOf({ value }: forge.asn1.Asn1): Outer {
  const [version] = Array.isArray(value) ? value : [];
  const isPfx = typeof version === "object" && version.value === "\u0003";
  return { isPfx, hasMac: Array.isArray(value) && value.length > 2 };
}

/** Says in our words what went wrong; what forge says could hold parts of what it decrypted. */
function reason(error: unknown, outer: forge.asn1.Asn1): Error {
  const { isPfx, hasMac } = outerOf(outer);
  const text = error instanceof Error ? error.message : "";
  if (error instanceof DerivationError) return new Error(error.message);
  if (!isPfx) return new Error("it is not a PKCS#12 file");
  if (/MAC could not be verified/.test(text)) return wrongPassword();
  // With a MAC that fits, or before any decryption, the password has nothing to do with it.
  if (/nsupported|not a supported|Cannot read|not supported/.test(text)) {
    return new Error(`it uses an algorithm that is not supported${named(error)}; ${HOW_TO_WRITE}`);
  }
  if (!hasMac) return wrongPassword();
  return new Error(`it is damaged, or filled in a way that is not supported; ${HOW_TO_WRITE}`);
}

function wrongPassword(): Error {
  return new Error("wrong password, or the file is damaged");
}

/** The algorithm by its object identifier, where forge tells it. */
function named(error: unknown): string {
  const { oid, message } = error as { readonly oid?: unknown; readonly message: string };
  const dotted = /\d+(\.\d+){3,}/.exec(typeof oid === "string" ? oid : message)?.[0];
  return dotted === undefined ? "" : ` (${dotted})`;
}

function isKeyBag({ type }: Bag): boolean {
  return type === forge.pki.oids["keyBag"] || type === forge.pki.oids["pkcs8ShroudedKeyBag"];
}

function isCertificateBag({ type }: Bag): boolean {
  return type === forge.pki.oids["certBag"];
}

/** forge understands RSA keys only; of others it leaves the PrivateKeyInfo as it was. */
function privateKeyOf(bag: Bag): Uint8Array {
  const info = bag.key
    ? forge.pki.wrapRsaPrivateKey(forge.pki.privateKeyToAsn1(bag.key))
    : bag.asn1;
  const der = Buffer.from(derOf(info));
  try {
    createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  } catch {
    throw new Error("its private key is malformed or of an unknown kind");
  }
  return der;
}

/** Likewise for certificates of keys other than RSA. */
function certificateOf(bag: Bag): Uint8Array {
  return derOf(bag.cert ? forge.pki.certificateToAsn1(bag.cert) : bag.asn1);
}

function derOf(value: forge.asn1.Asn1): Uint8Array {
  return new Uint8Array(Buffer.from(forge.asn1.toDer(value).getBytes(), "binary"));
}
