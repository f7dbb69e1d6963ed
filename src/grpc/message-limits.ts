/** How much of a request is read, and how much of it is made into objects. */
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

export interface MessageLimits {
  /** Of one message, as it came and inflated. */
  readonly bytes: number;
  /**
   * Fields of one message, those of the messages in it counted too. A field of two bytes becomes an object of a hundred, so the size alone
   * bounds little.
   */
  readonly fields: number;
}

/** What anybody may send: more than every request of the Workload API, the health and the reflection service needs. */
export const PUBLIC_LIMITS: MessageLimits = { bytes: 64 * 1024, fields: 2048 };

/**
 * Decodes a message, as long as it has no more fields than that. Counting goes on while reading, so that what lies behind the last field
 * that is allowed is never built.
 *
 * @param decode of a generated message: takes bytes, or a reader of them
 * @throws StatusError RESOURCE_EXHAUSTED when there are more, INTERNAL when the bytes are no such message
 */
export function decodeWithin<Message>(
  decode: (bytes: Buffer) => Message,
  bytes: Buffer,
  fields: number,
): Message {
  try {
    // Generated decoders take a reader too; only the type that ts-proto gives to requestDeserialize does not say so.
    return decode(new CountingReader(bytes, fields) as unknown as Buffer);
  } catch (error) {
    if (error instanceof StatusError) throw error;
    throw new StatusError(StatusCode.INTERNAL, "malformed message", { cause: error });
  }
}

/**
 * Reads an answer: a server that is not what it should be must not take its clients' memory. Fields are longer than sixteen bytes on
 * average, or not that many.
 *
 * @throws StatusError when the reader comes to more, which a client of gRPC answers with INTERNAL
 */
export function responseReader(bytes: Uint8Array): BinaryReader {
  return new CountingReader(bytes, 2 ** 20 + Math.floor(bytes.length / 16));
}

/** The same for every reader; it finds its own in `this`. */
const { uint32: readUint32 } = new BinaryReader(new Uint8Array());

class CountingReader extends BinaryReader {
  readonly fields: number;
  left: number;

  constructor(bytes: Uint8Array, fields: number) {
    super(bytes);
    this.fields = fields;
    // Generated code reads each tag by this method, and the length of what follows; no field needs more than the two.
    this.left = 2 * fields;
    this.uint32 = countedUint32;
  }
}

function countedUint32(this: CountingReader): number {
  if (this.left === 0) {
    throw new StatusError(
      StatusCode.RESOURCE_EXHAUSTED,
      `received message has more than ${this.fields} fields`,
    );
  }
  this.left -= 1;
  return readUint32.call(this);
}
