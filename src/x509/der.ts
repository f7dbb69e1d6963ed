/**
 * DER (X.690 §10-11), strict: definite lengths in their shortest form, tags below 31. A reader over a byte array and writers for the
 * parts of a certificate. Whatever is not DER is refused, so accepted input re-encodes to itself.
 */

export const Tag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  NULL: 0x05,
  OID: 0x06,
  UTF8_STRING: 0x0c,
  SEQUENCE: 0x30,
  SET: 0x31,
  NUMERIC_STRING: 0x12,
  PRINTABLE_STRING: 0x13,
  T61_STRING: 0x14,
  IA5_STRING: 0x16,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  BMP_STRING: 0x1e,
} as const;

/** What is not DER. */
export class DerError extends Error {
  override readonly name: string = "DerError";
}

/** One element where it lies; the parts of it that nobody asks for are not made. */
export class DerElement {
  readonly tag: number;
  readonly #source: Uint8Array;
  readonly #start: number;
  readonly #headerEnd: number;
  readonly #end: number;

  constructor(source: Uint8Array, start: number, headerEnd: number, end: number) {
    this.tag = source[start] ?? 0;
    this.#source = source;
    this.#start = start;
    this.#headerEnd = headerEnd;
    this.#end = end;
  }

  /** The content octets. */
  get content(): Uint8Array {
    return this.#source.subarray(this.#headerEnd, this.#end);
  }

  /** The whole element with its header. */
  get bytes(): Uint8Array {
    return this.#source.subarray(this.#start, this.#end);
  }
}

/** Reads elements one after the other. */
export class DerReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** The tag of the next element, or undefined at the end. */
  peek(): number | undefined {
    return this.#bytes[this.#at];
  }

  /** @throws DerError when the next element is malformed or not of the expected tag */
  next(expected?: number): DerElement {
    const start = this.#at;
    const tag = this.#bytes[start];
    if (tag === undefined) throw new DerError("element missing");
    if ((tag & 0x1f) === 0x1f) throw new DerError("multi-byte tag");
    if (expected !== undefined && tag !== expected) {
      throw new DerError(`tag ${tag.toString(16)} where ${expected.toString(16)} belongs`);
    }
    const { length, headerEnd } = this.#length(start + 1);
    const end = headerEnd + length;
    if (end > this.#bytes.length) throw new DerError("element is cut off");
    this.#at = end;
    return new DerElement(this.#bytes, start, headerEnd, end);
  }

  /** The next element if it has that tag. */
  optional(tag: number): DerElement | undefined {
    return this.peek() === tag ? this.next(tag) : undefined;
  }

  /** A reader over the content of the next element. */
  enter(tag: number): DerReader {
    return new DerReader(this.next(tag).content);
  }

  /** @throws DerError when anything is left */
  end(): void {
    if (!this.done) throw new DerError("trailing data");
  }

  #length(at: number): { length: number; headerEnd: number } {
    const first = this.#bytes[at];
    if (first === undefined) throw new DerError("length missing");
    if (first < 0x80) return { length: first, headerEnd: at + 1 };
    const count = first & 0x7f;
    // X.690 §10.1: definite and shortest. Four octets are far above any size limit here.
    if (count === 0 || count > 4) throw new DerError("length is not DER");
    let length = 0;
    for (let index = 0; index < count; index++) {
      const octet = this.#bytes[at + 1 + index];
      if (octet === undefined) throw new DerError("length is cut off");
      length = length * 256 + octet;
    }
    if (length < 0x80 || length < 256 ** (count - 1)) throw new DerError("length is not DER");
    return { length, headerEnd: at + 1 + count };
  }
}

/**
 * Reads one element that must be all of the bytes.
 *
 * @throws DerError
 */
export function readDer(bytes: Uint8Array, tag: number): DerReader {
  const outer = new DerReader(bytes);
  const inner = outer.enter(tag);
  outer.end();
  return inner;
}

/** Splits certificates that follow one another without separator, as the Workload API sends them. @throws DerError */
export function splitCertificates(bytes: Uint8Array): Uint8Array[] {
  const reader = new DerReader(bytes);
  const found: Uint8Array[] = [];
  while (!reader.done) found.push(reader.next(Tag.SEQUENCE).bytes);
  return found;
}

/** One element with its header around the parts. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const more = lengthOctets(length);
  const out = new Uint8Array(2 + more + length);
  out[0] = tag;
  out[1] = more === 0 ? length : 0x80 | more;
  let rest = length;
  for (let at = 1 + more; at > 1; at--) {
    out[at] = rest & 0xff;
    rest >>>= 8;
  }
  let at = 2 + more;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** How many octets follow the first one of a length (X.690 §8.1.3). */
function lengthOctets(length: number): number {
  if (length < 0x80) return 0;
  let octets = 1;
  for (let rest = length >>> 8; rest > 0; rest >>>= 8) octets++;
  return octets;
}

/** An INTEGER from unsigned big-endian bytes, in its shortest form. */
export function derUnsigned(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const magnitude = bytes.subarray(start);
  const needsZero = magnitude.length === 0 || ((magnitude[0] ?? 0) & 0x80) !== 0;
  return needsZero ? der(Tag.INTEGER, Uint8Array.of(0), magnitude) : der(Tag.INTEGER, magnitude);
}

const oids = new Map<string, Uint8Array>();

/** An OBJECT IDENTIFIER from dotted text; for constants of ours, so the text is not checked and each is made once. Not to be changed. */
export function derOid(dotted: string): Uint8Array {
  let known = oids.get(dotted);
  if (known === undefined) {
    known = makeOid(dotted);
    oids.set(dotted, known);
  }
  return known;
}

function makeOid(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const octets: number[] = [];
  for (const arc of [first * 40 + second, ...rest]) {
    const septets = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
      septets.unshift((left % 128) | 0x80);
    }
    octets.push(...septets);
  }
  return der(Tag.OID, Uint8Array.from(octets));
}

/** Dotted text of an OID's content octets. @throws DerError when an arc is cut off or padded */
export function oidText(content: Uint8Array): string {
  const [joined = 0, ...rest] = oidArcs(content);
  // X.690 §8.19.4: the first two arcs in one number.
  const first = joined < 40 ? 0 : joined < 80 ? 1 : 2;
  const second = typeof joined === "bigint" ? joined - BigInt(first * 40) : joined - first * 40;
  return [first, second, ...rest].join(".");
}

/** Arcs below that have room for seven more bits in a number. */
const ROOMY_ARC = 2 ** 46;

/** Big integers only for arcs that are longer than those in certificates. */
function oidArcs(content: Uint8Array): (number | bigint)[] {
  const arcs: (number | bigint)[] = [];
  let arc: number | bigint = 0;
  let fresh = true;
  for (const octet of content) {
    if (fresh && octet === 0x80) throw new DerError("OID arc is padded");
    const bits = octet & 0x7f;
    arc =
      typeof arc === "number" && arc < ROOMY_ARC
        ? arc * 128 + bits
        : BigInt(arc) * 128n + BigInt(bits);
    fresh = (octet & 0x80) === 0;
    if (!fresh) continue;
    arcs.push(arc);
    arc = 0;
  }
  if (!fresh || arcs.length === 0) throw new DerError("OID is cut off");
  return arcs;
}

/** A time as RFC 5280 §4.1.2.5 wants it: UTCTime until 2049, GeneralizedTime from 2050. Unix seconds. */
export function derTime(seconds: number): Uint8Array {
  const iso = new Date(seconds * 1000).toISOString();
  const date = iso.slice(0, 4) + iso.slice(5, 7) + iso.slice(8, 10);
  const text = `${date}${iso.slice(11, 13)}${iso.slice(14, 16)}${iso.slice(17, 19)}Z`;
  const utc = Number(text.slice(0, 4)) < 2050;
  return der(
    utc ? Tag.UTC_TIME : Tag.GENERALIZED_TIME,
    Buffer.from(utc ? text.slice(2) : text, "latin1"),
  );
}

const TIMES: Readonly<Record<number, RegExp>> = {
  [Tag.UTC_TIME]: /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?()(Z|[+-]\d{4})$/,
  [Tag.GENERALIZED_TIME]: /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?(\.\d+)?(Z|[+-]\d{4})$/,
};

/**
 * Unix seconds of a time element, without fractions. RFC 5280 §4.1.2.5 wants seconds and Zulu; old certificates have times without seconds
 * and with offsets, as X.680 §46 and §47 allow.
 *
 * @throws DerError
 */
export function timeSeconds(element: DerElement): number {
  const text = new TextDecoder().decode(element.content);
  const [, year = "", month, day, hours, minutes, seconds = "00", , zone = ""] =
    TIMES[element.tag]?.exec(text) ?? [];
  // RFC 5280 §4.1.2.5.1: two digits stand for 1950 to 2049.
  const full = year.length === 2 ? `${Number(year) < 50 ? "20" : "19"}${year}` : year;
  const offset = zone === "Z" ? zone : `${zone.slice(0, 3)}:${zone.slice(3)}`;
  const milliseconds = Date.parse(
    `${full}-${month}-${day}T${hours}:${minutes}:${seconds}${offset}`,
  );
  if (Number.isNaN(milliseconds)) throw new DerError("time is malformed");
  return milliseconds / 1000;
}
