/**
 * Rate limits: a token bucket for each source address. A caller who is too fast waits for its turn; it is turned away only
 * when it asks for more than a bucket ever holds, or when its turn is too far off to hold a stream open for.
 */
import type { Clock } from "#clock/clock.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

/** Calls a second from one address. */
const ATTESTATIONS_PER_SECOND = 1;
const SIGNATURES_PER_SECOND = 500;
const KEYS_PER_SECOND = 500;
const STATUSES_PER_SECOND = 10;

/** Waiting calls hold memory, and an address can queue up any number of them. */
const MAX_WAIT_MS = 300_000;
/** Buckets that filled up again are swept when there are this many. */
const SWEEP_AT = 1024;

interface Bucket {
  /** Negative while calls wait for their turn. */
  tokens: number;
  updatedMs: number;
}

export class RateLimit {
  readonly #perSecond: number;
  readonly #clock: Clock;
  readonly #buckets = new Map<string, Bucket>();
  #sweepAt = SWEEP_AT;

  constructor(perSecond: number, clock: Clock) {
    this.#perSecond = perSecond;
    this.#clock = clock;
  }

  /**
   * Takes tokens from the bucket of the address, waiting for them if need be.
   *
   * @throws StatusError RESOURCE_EXHAUSTED, or CANCELLED when the signal aborts while waiting
   */
  async take(address: string, count: number, signal: AbortSignal): Promise<void> {
    if (count > this.#perSecond) {
      throw new StatusError(
        StatusCode.RESOURCE_EXHAUSTED,
        `rate (${count}) exceeds burst size (${this.#perSecond})`,
      );
    }
    const bucket = this.#bucket(address);
    const waitMs = ((count - bucket.tokens) / this.#perSecond) * 1000;
    if (waitMs > MAX_WAIT_MS) {
      throw new StatusError(StatusCode.RESOURCE_EXHAUSTED, "too many calls are waiting already");
    }
    bucket.tokens -= count;
    if (waitMs <= 0) return;
    await this.#clock.sleep(waitMs, signal);
    if (signal.aborted) {
      bucket.tokens += count;
      throw new StatusError(StatusCode.CANCELLED, "context canceled");
    }
  }

  #bucket(address: string): Bucket {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#buckets.get(address);
    if (known !== undefined) {
      this.#fill(known, nowMs);
      return known;
    }
    if (this.#buckets.size >= this.#sweepAt) this.#sweep(nowMs);
    const bucket = { tokens: this.#perSecond, updatedMs: nowMs };
    this.#buckets.set(address, bucket);
    return bucket;
  }

  #fill(bucket: Bucket, nowMs: number): void {
    const gained = ((nowMs - bucket.updatedMs) / 1000) * this.#perSecond;
    bucket.tokens = Math.min(this.#perSecond, bucket.tokens + gained);
    bucket.updatedMs = nowMs;
  }

  /** A full bucket says nothing a new one would not say. */
  #sweep(nowMs: number): void {
    for (const [address, bucket] of this.#buckets) {
      this.#fill(bucket, nowMs);
      if (bucket.tokens >= this.#perSecond) this.#buckets.delete(address);
    }
    this.#sweepAt = Math.max(SWEEP_AT, this.#buckets.size * 2);
  }
}

/** The limits of the API. Undefined means that the configuration switched it off. */
export interface RateLimits {
  readonly attestation: RateLimit | undefined;
  /** Shared by all methods that sign X.509 certificates. */
  readonly x509Signing: RateLimit | undefined;
  readonly jwtSigning: RateLimit | undefined;
  readonly keyPublishing: RateLimit;
  readonly agentStatus: RateLimit;
}

export function createRateLimits(
  enabled: { readonly attestation: boolean; readonly signing: boolean },
  clock: Clock,
): RateLimits {
  const signing = (): RateLimit | undefined =>
    enabled.signing ? new RateLimit(SIGNATURES_PER_SECOND, clock) : undefined;
  return {
    attestation: enabled.attestation ? new RateLimit(ATTESTATIONS_PER_SECOND, clock) : undefined,
    x509Signing: signing(),
    jwtSigning: signing(),
    keyPublishing: new RateLimit(KEYS_PER_SECOND, clock),
    agentStatus: new RateLimit(STATUSES_PER_SECOND, clock),
  };
}
