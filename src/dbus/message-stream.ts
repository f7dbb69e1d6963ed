import { DbusFormatError } from "./format-error.ts";
import { LARGEST_MESSAGE_BYTES, messageBytes } from "./message.ts";

const LONGEST_LINE_BYTES = 1024;

/** What comes in, cut up: one line, the answer to our introduction, and from then on messages. */
export class MessageStream {
  #bytes: Buffer = Buffer.alloc(0);
  #lineTaken = false;

  push(bytes: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
  }

  /** The line, once, without its end; undefined while it is not all there. @throws DbusFormatError when it is too long */
  line(): string | undefined {
    if (this.#lineTaken) return undefined;
    const end = this.#bytes.indexOf("\r\n");
    if (end > LONGEST_LINE_BYTES || (end < 0 && this.#bytes.length > LONGEST_LINE_BYTES)) {
      throw new DbusFormatError("a line is too long");
    }
    if (end < 0) return undefined;
    const line = this.#bytes.toString("latin1", 0, end);
    this.#bytes = this.#bytes.subarray(end + 2);
    this.#lineTaken = true;
    return line;
  }

  /** The messages that are all there. @throws DbusFormatError when one is longer than we take */
  *messages(): Iterable<Buffer> {
    if (!this.#lineTaken) return;
    for (;;) {
      const length = messageBytes(this.#bytes);
      if (length === undefined || this.#bytes.length < length) break;
      yield this.#bytes.subarray(0, length);
      this.#bytes = this.#bytes.subarray(length);
    }
    if (this.#bytes.length > LARGEST_MESSAGE_BYTES) throw new DbusFormatError("too much at once");
  }
}
