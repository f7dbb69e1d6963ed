/** Bytes that come in pieces of any size, asked for in the sizes that a format has. */

/** The bytes are not what they were when they were written. */
export class DamageError extends Error {
  override readonly name: string = "DamageError";
}

export class ByteSource {
  readonly #pieces: AsyncIterator<Uint8Array>;
  #waiting: Buffer[] = [];
  #length = 0;
  #isOver = false;

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]();
  }

  /** That many bytes; fewer only where the bytes end. */
  async upTo(length: number): Promise<Buffer> {
    await this.#gather(length);
    const all = Buffer.concat(this.#waiting);
    const taken = all.subarray(0, length);
    const left = all.subarray(length);
    this.#waiting = left.length === 0 ? [] : [left];
    this.#length = left.length;
    return taken;
  }

  /** @throws DamageError when the bytes end before */
  async exactly(length: number): Promise<Buffer> {
    const bytes = await this.upTo(length);
    if (bytes.length < length) throw new DamageError("it ends too early");
    return bytes;
  }

  /** The next bytes, that many in all, in pieces. @throws DamageError when the bytes end before */
  async *pieces(length: number, pieceLength: number): AsyncGenerator<Buffer> {
    for (let left = length; left > 0; ) {
      const piece = await this.exactly(Math.min(left, pieceLength));
      left -= piece.length;
      yield piece;
    }
  }

  async isAtEnd(): Promise<boolean> {
    await this.#gather(1);
    return this.#length === 0;
  }

  /** Ends what the bytes come from. */
  async close(): Promise<void> {
    await this.#pieces.return?.();
  }

  async #gather(length: number): Promise<void> {
    while (this.#length < length && !this.#isOver) {
      const { done, value } = await this.#pieces.next();
      if (done === true) {
        this.#isOver = true;
      } else {
        this.#waiting.push(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
        this.#length += value.byteLength;
      }
    }
  }
}
