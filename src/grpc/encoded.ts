/** Messages that are encoded before they are sent: parts that many answers share are encoded once. */

/** The bytes of a message, in place of the message. */
export class Encoded {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** Encodings of messages of one type, one after the other, are the encoding of the message that has all their fields (Protocol Buffers, "Encoding"). */
  static join(parts: readonly Uint8Array[]): Encoded {
    return new Encoded(Buffer.concat(parts));
  }
}

/** What ts-proto generates for a message. */
export interface Codec<Message> {
  encode(message: Message): { finish(): Uint8Array };
}

/** Encodes a message once, however often it is sent; the bytes last as long as the message, which nobody changes. */
export function encodedOnce<Message extends object>(
  codec: Codec<Message>,
): (message: Message) => Encoded {
  const known = new WeakMap<Message, Encoded>();
  return (message) => {
    let encoded = known.get(message);
    if (encoded === undefined) {
      encoded = new Encoded(Buffer.from(codec.encode(message).finish()));
      known.set(message, encoded);
    }
    return encoded;
  };
}

/** Lets a serializer take what is encoded already. */
export function orEncoded<Message>(
  serialize: (message: Message) => Buffer,
): (message: Message | Encoded) => Buffer {
  return (message) => (message instanceof Encoded ? message.bytes : serialize(message));
}
