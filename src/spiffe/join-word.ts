/**
 * A join word: all that a node needs to join, in one word that an operator copies from the server to the node. It holds a join token and is
 * as secret as that; the fingerprints in it are what the node knows its server by. Version 1 is `spirejoin1_` and the digits (base 62, 0-9 A-Z
 * a-z) of the number that these bytes are:
 *
 *     trust domain   a byte for its length, and its name
 *     host           a byte for its length, and the DNS name or IP address
 *     port           two bytes
 *     token          a byte for its length, and its characters; or a zero byte and the 16 bytes of a UUID
 *     authorities    a byte for their number, and of each the SHA-256 of the certificate, in ascending order
 *     check          the CRC-32 of all bytes before, four bytes
 *
 * There is one way to write each word: what is accepted is written the same again.
 */
import { type HostPort, isHostPort } from "./host-port.ts";
import { JOIN_WORD_NAME } from "./secret-text.ts";
import { errorText } from "./status-error.ts";
import { TrustDomain } from "./trust-domain.ts";

export interface JoinWordFields {
  readonly trustDomain: TrustDomain;
  /** Where the node reaches the server. */
  readonly address: HostPort;
  readonly token: string;
  /** SHA-256 of the certificates (DER) of the trust bundle's X.509 authorities, lower-case hex; one to sixteen. */
  readonly fingerprints: readonly string[];
}

/** Each makes a word 43 characters longer. A trust bundle has two or three: the present one, the next one, the last one. */
export const MAX_FINGERPRINTS = 16;
/** Characters; the longest words there can be are shorter. */
export const MAX_JOIN_WORD_LENGTH = 2048;

const PREFIX = `${JOIN_WORD_NAME}1_`;
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** What can end an agent's SPIFFE ID. */
const TOKEN = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,255}$/;
const FINGERPRINT = /^[0-9a-f]{64}$/;
const CHECK_BYTES = 4;

/** What is wrong with a text that should be a join word. The text itself is never in the message. */
export class JoinWordError extends Error {
  override readonly name: string = "JoinWordError";
}

const DAMAGED =
  "the join word is damaged: it was cut off or mistyped, as its check digits tell; copy the whole word again";

export class JoinWord {
  readonly trustDomain: TrustDomain;
  readonly address: HostPort;
  /** Ascending. */
  readonly fingerprints: readonly string[];
  readonly #token: string;

  private constructor({ trustDomain, address, token, fingerprints }: JoinWordFields) {
    this.trustDomain = trustDomain;
    this.address = address;
    this.#token = token;
    this.fingerprints = [...new Set(fingerprints)].sort();
  }

  /** @throws JoinWordError when the fields cannot be put into a word */
  static of(fields: JoinWordFields): JoinWord {
    const word = new JoinWord(fields);
    const { length } = word.fingerprints;
    if (!isHostPort(fields.address)) throw new JoinWordError("the address of the server is wrong");
    if (!TOKEN.test(fields.token))
      throw new JoinWordError("the join token is not of the right form");
    if (length === 0 || length > MAX_FINGERPRINTS) {
      throw new JoinWordError(
        `a join word names 1 to ${MAX_FINGERPRINTS} authorities, not ${length}`,
      );
    }
    if (!word.fingerprints.every((one) => FINGERPRINT.test(one))) {
      throw new JoinWordError("a fingerprint is not a SHA-256 in lower-case hex");
    }
    return word;
  }

  /**
   * Reads a word; white space around it is ignored.
   *
   * @throws JoinWordError
   */
  static parse(given: string): JoinWord {
    const text = given.trim();
    checkForm(text);
    const bytes = bytesOf(text.slice(PREFIX.length));
    const body = bytes.subarray(0, -CHECK_BYTES);
    if (
      bytes.length <= CHECK_BYTES ||
      crc32(body) !== new Reader(bytes.subarray(body.length)).number(4)
    ) {
      throw new JoinWordError(DAMAGED);
    }
    const word = read(body);
    if (word.reveal() !== text) throw new JoinWordError("the join word is not in its one form");
    return word;
  }

  get token(): string {
    return this.#token;
  }

  /** The word itself, token included: for the operator who asked for it, and for nothing else. */
  reveal(): string {
    const body = Uint8Array.from([
      ...counted(this.trustDomain.name),
      ...counted(this.address.host),
      this.address.port >> 8,
      this.address.port & 0xff,
      ...(UUID.test(this.#token)
        ? [0, ...fromHex(this.#token.replaceAll("-", ""))]
        : counted(this.#token)),
      this.fingerprints.length,
      ...this.fingerprints.flatMap(fromHex),
    ]);
    const check = crc32(body)
      .toString(16)
      .padStart(2 * CHECK_BYTES, "0");
    return PREFIX + digitsOf(Uint8Array.from([...body, ...fromHex(check)]));
  }

  /** For whoever prints it without thinking. */
  toString(): string {
    return `${PREFIX}…`;
  }

  toJSON(): string {
    return this.toString();
  }
}

function checkForm(text: string): void {
  if (text === "") throw new JoinWordError("the join word is empty");
  if (text.length > MAX_JOIN_WORD_LENGTH)
    throw new JoinWordError("this is too long for a join word");
  if (!text.startsWith(PREFIX)) {
    throw new JoinWordError(
      new RegExp(`^${JOIN_WORD_NAME}\\d+_`).test(text)
        ? "the join word was made by a later version of spire-server than this program knows"
        : `this is no join word: one begins with ${PREFIX}, and spire-server token generate -join prints it`,
    );
  }
  if (/\s/.test(text)) {
    throw new JoinWordError("the join word is broken by white space: it is one word in one line");
  }
}

/** @param body without the check digits, which were right: what is wrong here was made wrong */
function read(body: Uint8Array): JoinWord {
  try {
    const reader = new Reader(body);
    const trustDomain = TrustDomain.fromName(reader.counted());
    const address = { host: reader.counted(), port: reader.number(2) };
    const length = reader.number(1);
    const token = length === 0 ? uuidText(reader.take(16)) : ascii(reader.take(length));
    const count = reader.number(1);
    const fingerprints = Array.from({ length: count }, () => toHex(reader.take(32)));
    reader.end();
    return JoinWord.of({ trustDomain, address, token, fingerprints });
  } catch (error) {
    const why = error instanceof JoinWordError ? errorText(error) : "it is not as it should be";
    throw new JoinWordError(`the join word cannot be used: ${why}`);
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  take(count: number): Uint8Array {
    const end = this.#at + count;
    if (end > this.#bytes.length) throw new JoinWordError("it ends too early");
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  number(bytes: number): number {
    return this.take(bytes).reduce((sum, byte) => sum * 256 + byte, 0);
  }

  counted(): string {
    return ascii(this.take(this.number(1)));
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw new JoinWordError("something follows its end");
  }
}

function counted(text: string): number[] {
  return [text.length, ...new TextEncoder().encode(text)];
}

function ascii(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function uuidText(bytes: Uint8Array): string {
  return toHex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function fromHex(hex: string): number[] {
  return (hex.match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16));
}

function digitsOf(bytes: Uint8Array): string {
  const digits: string[] = [];
  for (let rest = BigInt(`0x${toHex(bytes)}`); rest > 0n; rest /= 62n) {
    digits.push(DIGITS.charAt(Number(rest % 62n)));
  }
  return digits.reverse().join("");
}

/** @throws JoinWordError when there is another character among the digits */
function bytesOf(digits: string): Uint8Array {
  let value = 0n;
  for (const digit of digits) {
    const at = DIGITS.indexOf(digit);
    if (at === -1) throw new JoinWordError(DAMAGED);
    value = value * 62n + BigInt(at);
  }
  const hex = value.toString(16);
  return Uint8Array.from(fromHex(hex.length % 2 === 0 ? hex : `0${hex}`));
}

/** CRC-32 as in ISO 3309 (and zip): every error of 32 bits or less shows. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
