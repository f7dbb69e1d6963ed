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
  readonly #buckets: ReadonlyMap<string, TokenBuckets>;
  readonly #metrics: Metrics;

  constructor(rates: CallRates, clock: Clock, metrics: Metrics) {
    this.#buckets = new Map(
      [...rates].map(([method, perSecond]) => [method, new TokenBuckets(perSecond, clock)]),
    );
    this.#metrics = metrics;
  }

  /**
   * Counts a call.
   *
   * @param selectors of its caller
   * @throws StatusError UNAVAILABLE when there were too many
   */
  count(method: string, selectors: ReadonlySet<string>): void {
    const buckets = this.#buckets.get(method);
    if (buckets === undefined) return;
    const key = JSON.stringify([...selectors].sort());
    if (buckets.waitMs(key, 1) <= 0) buckets.take(key, 1);
    else {
      this.#metrics.count(["workload_api", "rate_limit_exceeded"], { method });
      throw new StatusError(StatusCode.UNAVAILABLE, `rate limit exceeded for ${method}`);
    }
  }
}
