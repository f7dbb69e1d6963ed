/** Values as the bytes of a message, little-endian (D-Bus Specification, "Marshaling"): the types that our calls send. */
import { alignmentOf, completeTypes } from "./signature.ts";
import type { DbusValue, DbusVariant } from "./value.ts";

/** @throws TypeError when a value is not of its type: a mistake of the caller */
export function marshal(signature: string, values: readonly DbusValue[]): Buffer {
  const out = new Writer();
  completeTypes(signature).forEach((type, index) => {
    out.write(type, values[index]);
  });
  return out.bytes();
}

class Writer {
  readonly #parts: Buffer[] = [];
  #length = 0;

  bytes(): Buffer {
    return Buffer.concat(this.#parts, this.#length);
  }

  write(type: string, value: DbusValue | undefined): void {
    this.#align(alignmentOf(type));
    switch (type[0]) {
      case "y":
        this.#push(Buffer.from([asNumber(value)]));
        break;
      case "u":
        this.#uint32(asNumber(value));
        break;
      case "i":
        // Two's complement.
        this.#uint32(asNumber(value) >>> 0);
        break;
      case "b":
        this.#uint32(value === true ? 1 : 0);
        break;
      case "s":
      case "o":
        this.#text(asText(value));
        break;
      case "g":
        this.#signature(asText(value));
        break;
      case "v":
        this.#variant(value);
        break;
      case "a":
        this.#array(type.slice(1), value);
        break;
      case "(":
        this.#structure(type.slice(1, -1), value);
        break;
      default:
        throw new TypeError(`no call sends values of type ${type}`);
    }
  }

  #push(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.#length += bytes.length;
  }

  #align(to: number): void {
    const missing = -this.#length & (to - 1);
    if (missing > 0) this.#push(Buffer.alloc(missing));
  }

  #uint32(value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    this.#push(bytes);
  }

  #text(value: string): void {
    const bytes = Buffer.from(`${value}\0`);
    this.#uint32(bytes.length - 1);
    this.#push(bytes);
  }

  #signature(value: string): void {
    this.#push(Buffer.from(`${String.fromCharCode(value.length)}${value}\0`, "latin1"));
  }

  #variant(value: DbusValue | undefined): void {
    if (!isVariant(value)) throw new TypeError("not a variant");
    this.#signature(value.signature);
    this.write(value.signature, value.value);
  }

  #array(type: string, value: DbusValue | undefined): void {
    if (!Array.isArray(value)) throw new TypeError("not an array");
    const length = Buffer.alloc(4);
    this.#push(length);
    this.#align(alignmentOf(type));
    const start = this.#length;
    for (const item of value) this.write(type, item);
    length.writeUInt32LE(this.#length - start);
  }

  #structure(members: string, value: DbusValue | undefined): void {
    if (!Array.isArray(value)) throw new TypeError("not a structure");
    completeTypes(members).forEach((type, index) => {
      this.write(type, value[index]);
    });
  }
}

function isVariant(value: DbusValue | undefined): value is DbusVariant {
  return typeof value === "object" && "signature" in value;
}

function asNumber(value: DbusValue | undefined): number {
  if (typeof value !== "number") throw new TypeError("not a number");
  return value;
}

function asText(value: DbusValue | undefined): string {
  if (typeof value !== "string" || value.includes("\0")) throw new TypeError("not a text");
  return value;
}
