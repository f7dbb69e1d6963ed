/**
 * What is counted and measured while a daemon runs, by the names that the reference documents. Whoever measures knows nothing of where
 * the figures go, and pays nothing when they go nowhere.
 */
import type { Clock } from "#clock/clock.ts";
import { StatusError, statusCodeName } from "#spiffe/status-error.ts";

/** The parts of a name: `["svid", "rotate"]` is `spire_server_svid_rotate`. */
export type MetricKey = readonly string[];
export type Labels = Readonly<Record<string, string>>;

export interface Metrics {
  /** @param by one when left out */
  count(key: MetricKey, labels?: Labels, by?: number): void;
  /** Holds the last value. */
  gauge(key: MetricKey, value: number, labels?: Labels): void;
  /** A value of many; quantiles are kept. */
  sample(key: MetricKey, value: number, labels?: Labels): void;
  /** Has something measured whenever somebody is about to read the figures, and now. */
  whenRead(measure: () => void): void;
}

/** For a daemon without telemetry. */
export const noMetrics: Metrics = {
  count: () => {},
  gauge: () => {},
  sample: () => {},
  whenRead: () => {},
};

/** Counts a call by how it ended, and samples how many milliseconds it took. */
export function countCall(
  metrics: Metrics,
  key: MetricKey,
  status: string,
  elapsedMs: number,
  labels: Labels = {},
): void {
  const all = { ...labels, status };
  metrics.count(key, all);
  metrics.sample([...key, "elapsed_time"], elapsedMs, all);
}

/** Runs a piece of work and counts it as a call. */
export async function countedCall<T>(
  { metrics, clock }: { readonly metrics: Metrics; readonly clock: Pick<Clock, "monotonicMs"> },
  key: MetricKey,
  work: () => Promise<T>,
  labels: Labels = {},
): Promise<T> {
  const startedMs = clock.monotonicMs();
  try {
    const result = await work();
    countCall(metrics, key, "OK", clock.monotonicMs() - startedMs, labels);
    return result;
  } catch (error) {
    countCall(metrics, key, statusName(error), clock.monotonicMs() - startedMs, labels);
    throw error;
  }
}

/** The status of an error as the reference's label spells it: `NotFound`. */
export function statusName(error: unknown): string {
  if (!(error instanceof StatusError)) return "Unknown";
  return statusCodeName(error.code) ?? String(error.code);
}
