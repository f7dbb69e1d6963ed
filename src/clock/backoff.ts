import type { Random } from "./random.ts";

const GROWTH = 1.5;
const JITTER = 0.1;

/** Pauses between repetitions of something that fails: each longer than the one before, with jitter, so that a fleet does not come back as one. */
export class Backoff {
  readonly #firstMs: number;
  readonly #maxMs: number;
  readonly #random: Random;
  #failures = 0;

  /** @param firstMs the first pause, in milliseconds; @param maxMs none is longer, but for the jitter of a tenth */
  constructor(firstMs: number, maxMs: number, random: Random) {
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
    this.#random = random;
  }

  /** Milliseconds to wait after one more failure. */
  nextMs(): number {
    const grown = Math.min(this.#firstMs * GROWTH ** this.#failures, this.#maxMs);
    this.#failures++;
    return grown * (1 + JITTER * (2 * this.#random.fraction() - 1));
  }

  /** It worked: the next failure is the first. */
  reset(): void {
    this.#failures = 0;
  }
}
