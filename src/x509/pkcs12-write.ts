/**
 * PKCS#12 files (RFC 7292) as today's readers want them: the key under AES-256 (PBES2, RFC 8018), a MAC with SHA-256, certificates in the
 * clear, as they are public. node-forge has the ciphers; its own writer of these files knows RSA keys alone.
 */
import { createHmac, randomBytes } from "node:crypto";
import { forge } from "./forge.ts";

/** The file's mode guards it already; a password that people choose is hardly guarded by more of them. */
const ITERATIONS = 2048;
const SALT_BYTES = 16;
/** RFC 7292 Appendix B.3: derives keys for a MAC. */
const FOR_MAC = 3;
const SHA256_BYTES = 32;

const OID = {
  data: "1.2.840.113549.1.7.1",
  shroudedKeyBag: "1.2.840.113549.1.12.10.1.2",
  certificateBag: "1.2.840.113549.1.12.10.1.3",
  x509Certificate: "1.2.840.113549.1.9.22.1",
  friendlyName: "1.2.840.113549.1.9.20",
  localKeyId: "1.2.840.113549.1.9.21",
  sha256: "2.16.840.1.101.3.4.2.1",
} as const;

type Node = forge.asn1.Asn1;
const { asn1 } = forge;
const { Class, Type } = asn1;

export interface Pkcs12Input {
  /** PKCS#8, DER. */
  readonly privateKey: Uint8Array;
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** Under which a key store lists the key. */
  readonly name: string;
  /** ASCII: readers disagree on how anything else is encoded. */
  readonly password: string;
}

/** @returns DER, other bytes each time */
export function writePkcs12({ privateKey, chain, name, password }: Pkcs12Input): Uint8Array {
  // What ties the certificate to its key in the file; any value does.
  const keyId = octets(Buffer.from([1]));
  const keyBag = sequence(
    oid(OID.shroudedKeyBag),
    explicit(encryptedKey(privateKey, password)),
    set(
      attribute(OID.friendlyName, text(Type.BMPSTRING, utf16(name))),
      attribute(OID.localKeyId, keyId),
    ),
  );
  const certificateBags = chain.map((der, index) =>
    sequence(
      oid(OID.certificateBag),
      explicit(sequence(oid(OID.x509Certificate), explicit(octets(der)))),
      ...(index === 0 ? [set(attribute(OID.localKeyId, keyId))] : []),
    ),
  );
  const safes = [sequence(...certificateBags), sequence(keyBag)];
  const content = derOf(sequence(...safes.map((safe) => data(derOf(safe)))));
  return derOf(sequence(integer(3), data(content), mac(content, password)));
}

function encryptedKey(privateKey: Uint8Array, password: string): Node {
  const options = {
    algorithm: "aes256",
    prfAlgorithm: "sha256",
    saltSize: SALT_BYTES,
    count: ITERATIONS,
  } as const;
  const info = asn1.fromDer(Buffer.from(privateKey).toString("binary"));
  return forge.pki.encryptPrivateKeyInfo(info, password, options);
}

/** RFC 7292 §4: over the bytes of the content, by a key from the same password. */
function mac(content: Buffer, password: string): Node {
  const salt = randomBytes(SALT_BYTES);
  const key = forge.pkcs12.generateKey(
    password,
    forge.util.createBuffer(salt.toString("binary")),
    FOR_MAC,
    ITERATIONS,
    SHA256_BYTES,
    forge.md.sha256.create(),
  );
  const digest = createHmac("sha256", Buffer.from(key.getBytes(), "binary")).update(content);
  const algorithm = sequence(oid(OID.sha256), asn1.create(Class.UNIVERSAL, Type.NULL, false, ""));
  return sequence(sequence(algorithm, octets(digest.digest())), octets(salt), integer(ITERATIONS));
}

function data(bytes: Buffer): Node {
  return sequence(oid(OID.data), explicit(octets(bytes)));
}

function attribute(type: string, value: Node): Node {
  return sequence(oid(type), set(value));
}

function sequence(...members: Node[]): Node {
  return asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, members);
}

function set(...members: Node[]): Node {
  return asn1.create(Class.UNIVERSAL, Type.SET, true, members);
}

/** [0] EXPLICIT, the only tag there is in these files. */
function explicit(value: Node): Node {
  return asn1.create(Class.CONTEXT_SPECIFIC, 0, true, [value]);
}

function oid(dotted: string): Node {
  return asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(dotted).getBytes());
}

function octets(bytes: Uint8Array): Node {
  return text(Type.OCTETSTRING, Buffer.from(bytes).toString("binary"));
}

function integer(value: number): Node {
  return text(Type.INTEGER, asn1.integerToDer(value).getBytes());
}

/** @param bytes a character each */
function text(type: forge.asn1.Type, bytes: string): Node {
  return asn1.create(Class.UNIVERSAL, type, false, bytes);
}

/** Big-endian, as ASN.1 has it. */
function utf16(value: string): string {
  return Buffer.from(value, "utf16le").swap16().toString("binary");
}

function derOf(node: Node): Buffer {
  return Buffer.from(asn1.toDer(node).getBytes(), "binary");
}
