/** Requests that have begun and are not whole yet: what they hold in memory, together and for each source. */

export interface BudgetLimits {
  /** Bytes of one source. */
  readonly source: number;
  /** Bytes of all sources together. */
  readonly total: number;
}

export class ReceiveBudget {
  readonly #limits: BudgetLimits;
  readonly #held = new Map<string, number>();
  #total = 0;

  constructor(limits: BudgetLimits) {
    this.#limits = limits;
  }

  /** @throws Error when it is too much, and nothing was taken */
  take(source: string, bytes: number): void {
    const held = (this.#held.get(source) ?? 0) + bytes;
    if (held > this.#limits.source || this.#total + bytes > this.#limits.total) {
      throw new Error("too many requests are unfinished");
    }
    this.#held.set(source, held);
    this.#total += bytes;
  }

  give(source: string, bytes: number): void {
    const left = (this.#held.get(source) ?? 0) - bytes;
    if (left > 0) this.#held.set(source, left);
    else this.#held.delete(source);
    this.#total -= bytes;
  }
}
