/** Dice that fall the same way again: all that a test leaves to chance comes from one number, which it prints. */

/** Repeats a run: the number that it printed. */
const GIVEN = process.env["SPIRE_EDGE_SEED"];

export class Chance {
  #state: number;

  private constructor(seed: number) {
    this.#state = seed;
  }

  /** Prints the seed, so that the run can be repeated. @param what whose dice these are */
  static start(what: string): Chance {
    const seed = GIVEN === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(GIVEN);
    if (!Number.isInteger(seed)) throw new Error(`SPIRE_EDGE_SEED is no whole number: ${GIVEN}`);
    console.log(`${what}: repeat with SPIRE_EDGE_SEED=${seed}`);
    return new Chance(seed);
  }

  /** Dice of its own for a worker: what the others do meanwhile does not change how they fall. */
  fork(): Chance {
    return new Chance(this.below(2 ** 32));
  }

  /** In [0, 1). Mulberry32. */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number in [0, limit). */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  /** A number in [low, high). */
  between(low: number, high: number): number {
    return low + this.fraction() * (high - low);
  }

  pick<T>(list: readonly T[]): T | undefined {
    return list[this.below(list.length)];
  }
}
