/** Token buckets, one for each key: who calls too fast is told how long to wait. Each holds what it gains in a second. */
import type { Clock } from "./clock.ts";

/** Buckets that filled up again are swept when there are this many. */
const SWEEP_AT = 1024;

interface Bucket {
  /** Negative while callers wait for their turn. */
  tokens: number;
  updatedMs: number;
}

export class TokenBuckets {
  readonly perSecond: number;
  readonly #clock: Clock;
  readonly #buckets = new Map<string, Bucket>();
  #sweepAt = SWEEP_AT;

  constructor(perSecond: number, clock: Clock) {
    this.perSecond = perSecond;
    this.#clock = clock;
  }

  /** Milliseconds until the bucket has so many tokens; 0 or less when it has them now. */
  waitMs(key: string, count: number): number {
    return ((count - this.#bucket(key).tokens) / this.perSecond) * 1000;
  }

  /** Takes tokens, be they there or not; a negative number gives them back. */
  take(key: string, count: number): void {
    this.#bucket(key).tokens -= count;
  }

  #bucket(key: string): Bucket {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#buckets.get(key);
    if (known !== undefined) {
      this.#fill(known, nowMs);
      return known;
    }
    if (this.#buckets.size >= this.#sweepAt) this.#sweep(nowMs);
    const bucket = { tokens: this.perSecond, updatedMs: nowMs };
    this.#buckets.set(key, bucket);
    return bucket;
  }

  #fill(bucket: Bucket, nowMs: number): void {
    const gained = ((nowMs - bucket.updatedMs) / 1000) * this.perSecond;
    bucket.tokens = Math.min(this.perSecond, bucket.tokens + gained);
    bucket.updatedMs = nowMs;
  }

  /** A full bucket says nothing a new one would not say. */
  #sweep(nowMs: number): void {
    for (const [key, bucket] of this.#buckets) {
      this.#fill(bucket, nowMs);
      if (bucket.tokens >= this.perSecond) this.#buckets.delete(key);
    }
    this.#sweepAt = Math.max(SWEEP_AT, this.#buckets.size * 2);
  }
}
