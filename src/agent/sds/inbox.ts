import { StatusCode, StatusError } from "#spiffe/status-error.ts";

/** The requests of a stream, read one at a time: the next is read when the last was taken. */
export class Inbox<T> {
  #item: { readonly value: T; readonly taken: () => void } | undefined;
  #isOver = false;
  #problem: unknown;
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

  /** @throws StatusError when what came is no request */
  take(): T | undefined {
    if (this.#problem !== undefined) throw this.#problem;
    const item = this.#item;
    this.#item = undefined;
    item?.taken();
    return item?.value;
  }

  /** Sets who is called when there is news. */
  whenNews(call: () => void): void {
    this.#onNews = call;
  }

  /** Calls whoever waits for news, without any. */
  wake(): void {
    this.#onNews();
  }

  async #read(requests: AsyncIterable<T>): Promise<void> {
    try {
      for await (const value of requests) {
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#item = { value, taken: resolve };
        this.#onNews();
        await promise;
      }
    } catch (error) {
      // A client that goes away breaks the stream; that is an end like any other.
      if (!isGone(error)) this.#problem = error;
    } finally {
      this.#isOver = true;
      this.#onNews();
    }
  }
}

function isGone(error: unknown): boolean {
  return error instanceof StatusError && error.code === StatusCode.CANCELLED;
}
