/**
 * Rate limits: a token bucket for each source address. A caller who is too fast waits for its turn; it is turned away only
 * when it asks for more than a bucket ever holds, or when its turn is too far off to hold a stream open for.
 */
import type { Clock } from "#clock/clock.ts";
import { TokenBuckets } from "#clock/token-buckets.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

/** Calls a second from one address. */
const ATTESTATIONS_PER_SECOND = 1;
const SIGNATURES_PER_SECOND = 500;
const KEYS_PER_SECOND = 500;
const STATUSES_PER_SECOND = 10;

/** Waiting calls hold memory, and an address can queue up any number of them. */
const MAX_WAIT_MS = 300_000;

export class RateLimit {
  readonly #clock: Clock;
  readonly #buckets: TokenBuckets;

  constructor(perSecond: number, clock: Clock) {
    this.#clock = clock;
    this.#buckets = new TokenBuckets(perSecond, clock);
  }

  /**
   * Takes tokens from the bucket of the address, waiting for them if need be.
   *
   * @returns whether there was a wait: what was true of the caller may have changed
   * @throws StatusError RESOURCE_EXHAUSTED, or CANCELLED when the signal aborts while waiting
   */
  async take(address: string, count: number, signal: AbortSignal): Promise<boolean> {
    const { perSecond } = this.#buckets;
    if (count > perSecond) {
      throw new StatusError(
        StatusCode.RESOURCE_EXHAUSTED,
        `rate (${count}) exceeds burst size (${perSecond})`,
      );
    }
    const waitMs = this.#buckets.waitMs(address, count);
    if (waitMs > MAX_WAIT_MS) {
      throw new StatusError(StatusCode.RESOURCE_EXHAUSTED, "too many calls are waiting already");
    }
    this.#buckets.take(address, count);
    if (waitMs <= 0) return false;
    await this.#clock.sleep(waitMs, signal);
    if (signal.aborted) {
      this.#buckets.take(address, -count);
      throw new StatusError(StatusCode.CANCELLED, "context canceled");
    }
    return true;
  }
}

/** The limits of the API. Undefined means that the configuration has switched it off at this moment. */
export interface RateLimits {
  readonly attestation: RateLimit | undefined;
  /** Shared by all methods that sign X.509 certificates. */
  readonly x509Signing: RateLimit | undefined;
  readonly jwtSigning: RateLimit | undefined;
  readonly witSigning: RateLimit | undefined;
  readonly keyPublishing: RateLimit;
  readonly agentStatus: RateLimit;
}

/** What the configuration switches off. */
export interface RateLimitSwitches {
  readonly attestation: boolean;
  readonly signing: boolean;
}

/** @param enabled as the configuration has it at this moment */
export function createRateLimits(enabled: () => RateLimitSwitches, clock: Clock): RateLimits {
  const attestation = new RateLimit(ATTESTATIONS_PER_SECOND, clock);
  const x509Signing = new RateLimit(SIGNATURES_PER_SECOND, clock);
  const jwtSigning = new RateLimit(SIGNATURES_PER_SECOND, clock);
  const witSigning = new RateLimit(SIGNATURES_PER_SECOND, clock);
  return {
    get attestation() {
      return enabled().attestation ? attestation : undefined;
    },
    get x509Signing() {
      return enabled().signing ? x509Signing : undefined;
    },
    get jwtSigning() {
      return enabled().signing ? jwtSigning : undefined;
    },
    get witSigning() {
      return enabled().signing ? witSigning : undefined;
    },
    keyPublishing: new RateLimit(KEYS_PER_SECOND, clock),
    agentStatus: new RateLimit(STATUSES_PER_SECOND, clock),
  };
}
