/**
 * The values in the bytes of a message, little-endian (D-Bus Specification, "Marshaling"). Strict: what the specification forbids, padding
 * that is not zero included, is refused, and no length is believed beyond the bytes that are there.
 */
import { DbusFormatError } from "./format-error.ts";
import { alignmentOf, completeTypes } from "./signature.ts";
import type { DbusValue } from "./value.ts";

/** Containers in one another, variants included (D-Bus Specification, "Valid Signatures"). */
const DEEPEST = 64;

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** All values of the signature; nothing may be left over. @throws DbusFormatError */
export function unmarshal(signature: string, bytes: Buffer): DbusValue[] {
  const reader = new Reader(bytes);
  const values = completeTypes(signature).map((type) => reader.read(type));
  if (reader.at !== bytes.length) throw new DbusFormatError("bytes are left over");
  return values;
}

export class Reader {
  readonly #bytes: Buffer;
  #at = 0;
  #depth = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Bytes read so far. */
  get at(): number {
    return this.#at;
  }

  read(type: string): DbusValue {
    this.align(alignmentOf(type));
    switch (type[0]) {
      case "s":
        return this.#text(this.#uint32());
      case "o":
        return checkPath(this.#text(this.#uint32()));
      case "g":
        return this.#signature();
      case "v":
        return this.#nested(() => this.#variant());
      case "a":
        return this.#nested(() => this.#array(type.slice(1)));
      case "(":
      case "{":
        return this.#nested(() => completeTypes(type.slice(1, -1)).map((one) => this.read(one)));
      default:
        return this.#number(type);
    }
  }

  /** Skips to a multiple of that many bytes. */
  align(to: number): void {
    const missing = -this.#at & (to - 1);
    if (this.#take(missing).some((byte) => byte !== 0)) {
      throw new DbusFormatError("padding is not zero");
    }
  }

  #take(count: number): Buffer {
    const end = this.#at + count;
    if (end > this.#bytes.length) throw new DbusFormatError("the message is cut off");
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  #uint32(): number {
    return this.#take(4).readUInt32LE();
  }

  #number(type: string): DbusValue {
    switch (type) {
      case "y":
        return this.#take(1).readUInt8();
      case "b": {
        const value = this.#uint32();
        if (value > 1) throw new DbusFormatError("a boolean is neither true nor false");
        return value === 1;
      }
      case "n":
        return this.#take(2).readInt16LE();
      case "q":
        return this.#take(2).readUInt16LE();
      case "i":
        return this.#take(4).readInt32LE();
      case "u":
      case "h":
        return this.#uint32();
      case "x":
        return this.#take(8).readBigInt64LE();
      case "t":
        return this.#take(8).readBigUInt64LE();
      case "d":
        return this.#take(8).readDoubleLE();
      default:
        throw new DbusFormatError("a signature has an unknown type");
    }
  }

  #text(length: number): string {
    const bytes = this.#take(length);
    if (this.#take(1)[0] !== 0) throw new DbusFormatError("a text has no end");
    // The nul would end the text for a program in C, and so be another text there.
    if (bytes.includes(0)) throw new DbusFormatError("a text has a nul inside");
    try {
      return UTF8.decode(bytes);
    } catch {
      throw new DbusFormatError("a text is not UTF-8");
    }
  }

  #signature(): string {
    const [length = 0] = this.#take(1);
    const text = this.#text(length);
    completeTypes(text);
    return text;
  }

  #variant(): DbusValue {
    const signature = this.#signature();
    if (completeTypes(signature).length !== 1) {
      throw new DbusFormatError("a variant is not of one type");
    }
    return { signature, value: this.read(signature) };
  }

  #array(type: string): DbusValue {
    const length = this.#uint32();
    this.align(alignmentOf(type));
    if (type === "y") return Uint8Array.from(this.#take(length));
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new DbusFormatError("the message is cut off");
    const items: DbusValue[] = [];
    while (this.#at < end) items.push(this.read(type));
    if (this.#at !== end) throw new DbusFormatError("an array is not as long as it says");
    return items;
  }

  #nested<T>(read: () => T): T {
    if (++this.#depth > DEEPEST) throw new DbusFormatError("values are nested too deeply");
    const value = read();
    this.#depth--;
    return value;
  }
}

function checkPath(text: string): string {
  if (/^\/$|^(\/[A-Za-z0-9_]+)+$/.test(text)) return text;
  throw new DbusFormatError("an object path is none");
}
