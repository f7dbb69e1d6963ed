/**
 * A certificate, read. Parsing is strict DER; nothing here is verified: that is the work of chain.ts and svid.ts.
 */
import { createPublicKey, type KeyObject } from "node:crypto";
import { DerError, DerReader, readDer, Tag, timeSeconds } from "./der.ts";
import { type Extensions, NO_EXTENSIONS, readExtensions } from "./extensions.ts";
import { nameText } from "./name.ts";
import { signatureAlgorithmOf } from "./signature.ts";

/** Far above any certificate of use, far below what would hurt. */
const MAX_CERTIFICATE_BYTES = 64 * 1024;
/** Many times what any issuer draws; the text of a number takes ever longer to make. */
const MAX_SERIAL_BYTES = 256;

export class Certificate {
  readonly der: Uint8Array;
  /** 1 or 2 without extensions, in old roots; otherwise 3. */
  readonly version: number;
  /** The signed part. */
  readonly tbs: Uint8Array;
  /** As signature.ts names it. */
  readonly signatureAlgorithm: string;
  readonly signature: Uint8Array;
  readonly serialNumber: bigint;
  readonly issuerDer: Uint8Array;
  readonly subjectDer: Uint8Array;
  /** Unix seconds. */
  readonly notBefore: number;
  /** Unix seconds. */
  readonly notAfter: number;
  readonly publicKeySpki: Uint8Array;
  readonly extensions: Extensions;
  #publicKey: KeyObject | undefined;

  private constructor(bytes: Uint8Array) {
    const outer = readDer(bytes, Tag.SEQUENCE);
    const tbs = outer.next(Tag.SEQUENCE);
    this.der = bytes;
    this.tbs = tbs.bytes;
    const algorithm = outer.next(Tag.SEQUENCE);
    this.signatureAlgorithm = signatureAlgorithmOf(algorithm.bytes);
    this.signature = bitString(outer);
    outer.end();

    const fields = readDer(tbs.bytes, Tag.SEQUENCE);
    this.version = readVersion(fields);
    this.serialNumber = readSerial(fields.next(Tag.INTEGER).content);
    // RFC 5280 §4.1.1.2: the algorithm stands twice and must be the same.
    if (Buffer.compare(fields.next(Tag.SEQUENCE).bytes, algorithm.bytes) !== 0) {
      throw new DerError("the two signature algorithms differ");
    }
    this.issuerDer = fields.next(Tag.SEQUENCE).bytes;
    const validity = fields.enter(Tag.SEQUENCE);
    this.notBefore = timeSeconds(validity.next());
    this.notAfter = timeSeconds(validity.next());
    validity.end();
    this.subjectDer = fields.next(Tag.SEQUENCE).bytes;
    this.publicKeySpki = fields.next(Tag.SEQUENCE).bytes;
    fields.optional(0x81);
    fields.optional(0x82);
    const extensions = fields.optional(0xa3);
    fields.end();
    this.extensions =
      extensions === undefined
        ? NO_EXTENSIONS
        : readExtensions(readDer(extensions.content, Tag.SEQUENCE));
  }

  /** @throws Error "malformed certificate: …" */
  static parse(bytes: Uint8Array): Certificate {
    if (bytes.length > MAX_CERTIFICATE_BYTES) {
      throw new Error(`malformed certificate: longer than ${MAX_CERTIFICATE_BYTES} bytes`);
    }
    try {
      return new Certificate(bytes);
    } catch (error) {
      if (!(error instanceof DerError)) throw error;
      throw new Error(`malformed certificate: ${error.message}`);
    }
  }

  /** @throws Error when the key is of a kind the crypto library does not know */
  get publicKey(): KeyObject {
    this.#publicKey ??= createPublicKey({
      key: Buffer.from(this.publicKeySpki),
      format: "der",
      type: "spki",
    });
    return this.#publicKey;
  }

  get serialNumberDecimal(): string {
    return this.serialNumber.toString();
  }

  get subjectText(): string {
    return nameText(this.subjectDer);
  }

  get uriSans(): readonly string[] {
    return this.extensions.uriSans;
  }

  get dnsSans(): readonly string[] {
    return this.extensions.dnsSans;
  }

  get emailSans(): readonly string[] {
    return this.extensions.emailSans;
  }

  get ipSans(): readonly Uint8Array[] {
    return this.extensions.ipSans;
  }

  get isCa(): boolean {
    return this.extensions.basicConstraints?.isCa ?? false;
  }

  get isSelfIssued(): boolean {
    return Buffer.compare(this.subjectDer, this.issuerDer) === 0;
  }
}

/** RFC 5280 §4.1.2.1: counted from 0; absent for the first, though some wrote it. */
function readVersion(fields: DerReader): number {
  const version = fields.optional(0xa0);
  if (version === undefined) return 1;
  const reader = new DerReader(version.content);
  const [number = 0, ...more] = reader.next(Tag.INTEGER).content;
  reader.end();
  if (number > 2 || more.length > 0) throw new DerError("not a certificate of version 1, 2 or 3");
  return number + 1;
}

/**
 * RFC 5280 §4.1.2.2 wants a positive number of 20 octets at most, and users to take others gracefully: there are roots with longer
 * ones, and with negative ones.
 */
function readSerial(content: Uint8Array): bigint {
  if (content.length === 0 || content.length > MAX_SERIAL_BYTES) {
    throw new DerError("serial number is out of range");
  }
  const number = BigInt(`0x${Buffer.from(content).toString("hex")}`);
  return BigInt.asIntN(8 * content.length, number);
}

function bitString(reader: DerReader): Uint8Array {
  const content = reader.next(Tag.BIT_STRING).content;
  if (content[0] !== 0) throw new DerError("bit string has unused bits");
  return content.subarray(1);
}
