/** The requests of a stream, read one at a time: the next is read when the last was taken. */
export class Inbox<T> {
  #item: { readonly value: T; readonly taken: () => void } | undefined;
  #isOver = false;
  #onNews: () => void = () => {};

  constructor(requests: AsyncIterable<T>) {
    void this.#read(requests);
  }

  /** Whether nothing more comes: the client has ended its side, or is gone. */
  get isOver(): boolean {
    return this.#isOver && this.#item === undefined;
  }

  /** Whether `take` gives something, or nothing will ever come. */
  get hasNews(): boolean {
    return this.#item !== undefined || this.#isOver;
  }

  take(): T | undefined {
    const item = this.#item;
    this.#item = undefined;
    item?.taken();
    return item?.value;
  }

  /** Sets who is called when there is news. */
  whenNews(call: () => void): void {
    this.#onNews = call;
  }

  async #read(requests: AsyncIterable<T>): Promise<void> {
    try {
      for await (const value of requests) {
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#item = { value, taken: resolve };
        this.#onNews();
        await promise;
      }
    } catch {
      // A client that goes away breaks the stream; that is an end like any other.
    } finally {
      this.#isOver = true;
      this.#onNews();
    }
  }
}
