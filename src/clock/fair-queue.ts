/**
 * Turns at something that only so many may do at once. Keys (users, mostly) take turns, so that one with a thousand pieces of work waiting
 * holds up another by one piece at most.
 */

export interface QueueLimits {
  /** Work that goes on at the same time, of all keys together and of one. */
  readonly running: number;
  readonly runningPerKey: number;
  /** Work that waits for its turn; what is beyond is refused at once. */
  readonly waiting: number;
  readonly waitingPerKey: number;
}

/** So much waits that more is refused. */
export class QueueFullError extends Error {
  override readonly name: string = "QueueFullError";
}

/** Long work gives its turn up now and then. */
export interface Turn {
  /** Lets others have theirs; resolves when it is this one's again. @throws the signal's reason */
  pass(): Promise<void>;
}

type Start = () => void;

export class FairQueue<K> {
  readonly #limits: QueueLimits;
  /** Who waits, by key; the key that had its turn the longest ago comes first. */
  readonly #lines: Map<K, Set<Start>> = new Map();
  readonly #runningByKey: Map<K, number> = new Map();
  #running = 0;
  #waiting = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  /**
   * Does the work when it is its turn.
   *
   * @param signal ends the waiting; work that has begun has to look at it itself
   * @throws QueueFullError, or the signal's reason, when the work was not begun
   */
  async run<T>(key: K, signal: AbortSignal, work: (turn: Turn) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    if (!this.#isFree(key) && this.#isFull(key)) {
      throw new QueueFullError("too many are waiting for the same");
    }
    await this.#enter(key, signal);
    let hasTurn = true;
    const pass = async (): Promise<void> => {
      if (this.#waiting === 0) return signal.throwIfAborted();
      hasTurn = false;
      this.#leave(key);
      await this.#enter(key, signal);
      hasTurn = true;
    };
    try {
      return await work({ pass });
    } finally {
      if (hasTurn) this.#leave(key);
    }
  }

  #isFree(key: K): boolean {
    const ofKey = this.#runningByKey.get(key) ?? 0;
    return this.#running < this.#limits.running && ofKey < this.#limits.runningPerKey;
  }

  #isFull(key: K): boolean {
    const ofKey = this.#lines.get(key)?.size ?? 0;
    return this.#waiting >= this.#limits.waiting || ofKey >= this.#limits.waitingPerKey;
  }

  async #enter(key: K, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    // Whoever could start has started when the last one left, so nobody is overtaken here.
    if (this.#isFree(key)) return this.#take(key);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const line = this.#lines.get(key) ?? new Set();
    this.#lines.set(key, line.add(resolve));
    this.#waiting++;
    const leave = (): void => {
      // Its turn may have come at the same moment.
      if (!line.delete(resolve)) return;
      if (line.size === 0 && this.#lines.get(key) === line) this.#lines.delete(key);
      this.#waiting--;
      reject(signal.reason);
    };
    signal.addEventListener("abort", leave, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  #take(key: K): void {
    this.#running++;
    this.#runningByKey.set(key, (this.#runningByKey.get(key) ?? 0) + 1);
  }

  #leave(key: K): void {
    this.#running--;
    const left = (this.#runningByKey.get(key) ?? 1) - 1;
    if (left === 0) this.#runningByKey.delete(key);
    else this.#runningByKey.set(key, left);
    this.#startNext();
  }

  #startNext(): void {
    for (const [key, line] of this.#lines) {
      if (this.#running >= this.#limits.running) return;
      if (!this.#isFree(key)) continue;
      const [start] = line;
      if (start === undefined) continue;
      line.delete(start);
      this.#waiting--;
      // To the back of the ring.
      this.#lines.delete(key);
      if (line.size > 0) this.#lines.set(key, line);
      this.#take(key);
      start();
    }
  }
}
