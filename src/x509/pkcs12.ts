/**
 * PKCS#12 files (RFC 7292), in which corporate authorities hand out a key, its certificate, and the certificates above. The
 * door to node-forge, with pkcs12-write.ts; it decrypts them, the key and the certificates it finds go on to node:crypto and #x509 as DER.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import forge from "node-forge";
import { Certificate } from "./certificate.ts";

export interface Pkcs12Content {
  readonly privateKey: KeyObject;
  /** The certificate of the private key. */
  readonly certificate: Certificate;
  /** In the order of the file, which means nothing. */
  readonly others: readonly Certificate[];
}

type Bag = forge.pkcs12.Bag;

/**
 * Opens a PKCS#12 file that holds one private key and a certificate for it. Takes up to seconds of this thread when the file asks for many iterations.
 *
 * @param password ASCII: writers disagree on how anything else is encoded
 * @throws Error saying why it cannot be opened; never with the password or a part of the key
 */
export function readPkcs12(bytes: Uint8Array, password: string): Pkcs12Content {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range is the ASCII alphabet itself.
  if (!/^[\x00-\x7f]*$/.test(password)) {
    throw new Error(
      "the password has characters that are not ASCII; protect the file with one that has none",
    );
  }
  const bags = openBags(bytes, password);
  const keys = bags.filter(isKeyBag).map(privateKeyOf);
  const [privateKey, ...more] = keys;
  if (privateKey === undefined) throw new Error("it holds no private key");
  if (more.length > 0) throw new Error(`it holds ${keys.length} private keys; expected one`);
  const certificates = bags
    .filter(isCertificateBag)
    .map((bag) => Certificate.parse(certificateOf(bag)));
  if (certificates.length === 0) throw new Error("it holds no certificate");
  const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  const certificate = certificates.find(
    ({ publicKeySpki }) => Buffer.compare(publicKeySpki, spki) === 0,
  );
  if (certificate === undefined) throw new Error("it holds no certificate for its private key");
  return { privateKey, certificate, others: certificates.filter((one) => one !== certificate) };
}

function openBags(bytes: Uint8Array, password: string): Bag[] {
  let outer: forge.asn1.Asn1;
  try {
    outer = forge.asn1.fromDer(Buffer.from(bytes).toString("binary"));
  } catch {
    throw new Error("it is not a PKCS#12 file");
  }
  try {
    const { safeContents } = forge.pkcs12.pkcs12FromAsn1(outer, password);
    return safeContents.flatMap(({ safeBags }) => safeBags);
  } catch (error) {
    throw new Error(reason(error));
  }
}

/** Says in our words what went wrong; what forge says could hold parts of what it decrypted. */
function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : "";
  if (/MAC could not be verified|Failed to decrypt|Unable to decrypt/.test(text)) {
    return "wrong password, or the file is damaged";
  }
  if (/nsupported/.test(text)) {
    return "it is protected or filled in a way that is not supported; write it anew with AES-256-CBC and a SHA-256 MAC";
  }
  return "it is not a PKCS#12 file, or its password is wrong";
}

function isKeyBag({ type }: Bag): boolean {
  return type === forge.pki.oids["keyBag"] || type === forge.pki.oids["pkcs8ShroudedKeyBag"];
}

function isCertificateBag({ type }: Bag): boolean {
  return type === forge.pki.oids["certBag"];
}

/** forge understands RSA keys only; of others it leaves the PrivateKeyInfo as it was. */
function privateKeyOf(bag: Bag): KeyObject {
  const info = bag.key
    ? forge.pki.wrapRsaPrivateKey(forge.pki.privateKeyToAsn1(bag.key))
    : bag.asn1;
  try {
    return createPrivateKey({ key: Buffer.from(derOf(info)), format: "der", type: "pkcs8" });
  } catch {
    throw new Error("its private key is malformed or of an unknown kind");
  }
}

/** Likewise for certificates of keys other than RSA. */
function certificateOf(bag: Bag): Uint8Array {
  return derOf(bag.cert ? forge.pki.certificateToAsn1(bag.cert) : bag.asn1);
}

function derOf(value: forge.asn1.Asn1): Uint8Array {
  return new Uint8Array(Buffer.from(forge.asn1.toDer(value).getBytes(), "binary"));
}
