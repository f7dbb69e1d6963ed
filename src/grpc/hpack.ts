/**
 * Header blocks of HTTP/2 (RFC 7541), read as they come, and written without a table: so that a block can be changed before the HTTP/2
 * stack sees it, while the table that the client keeps stays what it is.
 */
import { decodeHuffman } from "./huffman.ts";

/** RFC 7541 Appendix A: the names alone, as whoever reads a field of the static table passes on its number. */
const STATIC_NAMES =
  `:authority :method :method :path :path :scheme :scheme :status :status :status :status :status :status :status
accept-charset accept-encoding accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control
content-disposition content-encoding content-language content-length content-location content-range content-type cookie date etag expect
expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified link location max-forwards
proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie strict-transport-security transfer-encoding
user-agent vary via www-authenticate`.split(/\s/);

/** The size of the table that every client may count on (RFC 9113 §6.5.2); no other is announced. */
const TABLE_BYTES = 4096;
/** What an entry counts beyond its name and value (RFC 7541 §4.1). */
const ENTRY_BYTES = 32;
/** All fields of a block together, counted as entries are; the HTTP/2 stack takes no more either. */
const MAX_LIST_BYTES = 65_536;
/** Numbers are of four bytes at most, which is more than anything here may be. */
const MAX_SHIFT = 28;

/** Strings have a character for each byte. */
export interface Field {
  readonly name: string;
  /** Undefined for a field that the static table has whole. */
  readonly value: string | undefined;
  /** Its number there, or 0. */
  readonly index: number;
  /** Whether the client forbids that it is kept in a table (RFC 7541 §7.1.3). */
  readonly isSensitive: boolean;
}

type Entry = Pick<Field, "name" | "value">;

/** Reads the header blocks of one connection, each of them and in their order. */
export class HeaderReader {
  /** The newest last. */
  readonly #table: Entry[] = [];
  #tableBytes = 0;
  #maxBytes = TABLE_BYTES;

  /** @throws Error when the block is malformed or too large; the reader is of no use after that */
  read(block: Uint8Array): Field[] {
    const cursor = new Cursor(block);
    const fields: Field[] = [];
    let bytes = 0;
    while (!cursor.isAtEnd) {
      const field = this.#next(cursor);
      if (field === undefined) continue;
      bytes += sizeOf(field);
      if (bytes > MAX_LIST_BYTES) throw new Error("the header fields are too many, or too long");
      fields.push(field);
    }
    return fields;
  }

  /** RFC 7541 §6: the first bits say what it is. @returns undefined for an update of the table's size */
  #next(cursor: Cursor): Field | undefined {
    const first = cursor.peek();
    if (first >= 0x80) return this.#indexed(cursor.number(7));
    if (first >= 0x40) return this.#kept(this.#literal(cursor, 6, false));
    if (first < 0x20) return this.#literal(cursor, 4, first >= 0x10);
    const size = cursor.number(5);
    if (size > TABLE_BYTES) throw new Error("the header table would be larger than allowed");
    this.#maxBytes = size;
    this.#evict();
    return undefined;
  }

  #indexed(index: number): Field {
    if (index >= 1 && index <= STATIC_NAMES.length) {
      return { name: this.#nameOf(index), value: undefined, index, isSensitive: false };
    }
    return { ...this.#entry(index), index: 0, isSensitive: false };
  }

  #literal(cursor: Cursor, prefix: number, isSensitive: boolean): Field {
    const index = cursor.number(prefix);
    const name = index === 0 ? cursor.text() : this.#nameOf(index);
    return { name, value: cursor.text(), index: 0, isSensitive };
  }

  #nameOf(index: number): string {
    return STATIC_NAMES[index - 1] ?? this.#entry(index).name;
  }

  #entry(index: number): Entry {
    const entry = this.#table.at(STATIC_NAMES.length - index);
    if (index <= STATIC_NAMES.length || entry === undefined) throw new Error("no such header");
    return entry;
  }

  #kept(field: Field): Field {
    const { name, value } = field;
    this.#table.push({ name, value });
    this.#tableBytes += sizeOf(field);
    this.#evict();
    return field;
  }

  #evict(): void {
    while (this.#tableBytes > this.#maxBytes) {
      const oldest = this.#table.shift();
      if (oldest === undefined) return;
      this.#tableBytes -= sizeOf(oldest);
    }
  }
}

/** Writes a block that neither uses a table nor adds to one. */
export function writeHeaders(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.flatMap(({ name, value, index, isSensitive }) =>
      value === undefined
        ? [Buffer.from([0x80 | index])]
        : [Buffer.from([isSensitive ? 0x10 : 0]), ...textBytes(name), ...textBytes(value)],
    ),
  );
}

function textBytes(text: string): Buffer[] {
  const length: number[] = [];
  let rest = text.length;
  if (rest < 0x7f) length.push(rest);
  else {
    length.push(0x7f);
    for (rest -= 0x7f; rest >= 0x80; rest >>= 7) length.push(0x80 | (rest & 0x7f));
    length.push(rest);
  }
  return [Buffer.from(length), Buffer.from(text, "latin1")];
}

const sizeOf = ({ name, value = "" }: Entry): number => name.length + value.length + ENTRY_BYTES;

/** A place in a block. */
class Cursor {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** @throws Error at the end */
  peek(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new Error("a header block is cut short");
    return byte;
  }

  /** RFC 7541 §5.1 @param prefix bits of the first byte that belong to it */
  number(prefix: number): number {
    const most = (1 << prefix) - 1;
    let value = this.#take() & most;
    if (value < most) return value;
    for (let shift = 0; shift < MAX_SHIFT; shift += 7) {
      const byte = this.#take();
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new Error("a number in a header block is too large");
  }

  /** RFC 7541 §5.2 */
  text(): string {
    const isHuffman = this.peek() >= 0x80;
    const length = this.number(7);
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new Error("a header block is cut short");
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return isHuffman ? decodeHuffman(bytes) : Buffer.from(bytes).toString("latin1");
  }

  #take(): number {
    const byte = this.peek();
    this.#at++;
    return byte;
  }
}
