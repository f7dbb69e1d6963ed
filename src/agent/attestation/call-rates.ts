/**
 * How often one sort of workload may call: those with the same selectors share a bucket, and never take from others. What is beyond is
 * refused at once, as a workload that calls too often is mostly one in a loop.
 */
import type { Clock } from "#clock/clock.ts";
import { TokenBuckets } from "#clock/token-buckets.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Metrics } from "#telemetry/metrics.ts";

/** Calls a second by method as on the wire; a method that is not there has no limit. */
export type CallRates = ReadonlyMap<string, number>;

export class CallLimits {
  readonly #rates: () => CallRates;
  readonly #buckets: Map<string, TokenBuckets> = new Map();
  readonly #clock: Clock;
  readonly #metrics: Metrics;

  /** @param rates as the configuration has them at this moment */
  constructor(rates: () => CallRates, clock: Clock, metrics: Metrics) {
    this.#rates = rates;
    this.#clock = clock;
    this.#metrics = metrics;
  }

  /**
   * Counts a call.
   *
   * @param selectors of its caller
   * @throws StatusError UNAVAILABLE when there were too many
   */
  count(method: string, selectors: ReadonlySet<string>): void {
    const perSecond = this.#rates().get(method);
    if (perSecond === undefined) return;
    const buckets = this.#bucketsOf(method, perSecond);
    const key = JSON.stringify([...selectors].sort());
    if (buckets.waitMs(key, 1) <= 0) buckets.take(key, 1);
    else {
      this.#metrics.count(["workload_api", "rate_limit_exceeded"], { method });
      throw new StatusError(StatusCode.UNAVAILABLE, `rate limit exceeded for ${method}`);
    }
  }

  #bucketsOf(method: string, perSecond: number): TokenBuckets {
    const known = this.#buckets.get(method);
    if (known?.perSecond === perSecond) return known;
    const buckets = new TokenBuckets(perSecond, this.#clock);
    this.#buckets.set(method, buckets);
    return buckets;
  }
}
