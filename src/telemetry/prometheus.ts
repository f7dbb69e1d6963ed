/** Metrics as Prometheus reads them: names, labels and quantiles as the reference's exporter has them. */
import { hostname } from "node:os";
import { Counter, Gauge, Registry, Summary } from "prom-client";
import type { TelemetryConfig } from "./config.ts";
import type { Labels, MetricKey, Metrics } from "./metrics.ts";
import { PrefixFilter } from "./prefix-filter.ts";

const QUANTILES = [0.5, 0.9, 0.99];
/** Quantiles are of the last ten seconds, as the reference's. */
const SUMMARY_AGE_SECONDS = 10;
const SUMMARY_AGE_BUCKETS = 5;

type Kind = "counter" | "gauge" | "summary";

interface Series {
  add(value: number, labels: Labels): void;
}

export interface PrometheusOptions extends TelemetryConfig {
  /** `spire_server` or `spire_agent`. */
  readonly service: string;
  readonly trustDomain: string;
}

export class PrometheusMetrics implements Metrics {
  readonly #registry: Registry = new Registry();
  readonly #options: PrometheusOptions;
  readonly #filter: PrefixFilter;
  readonly #common: Labels;
  readonly #measures: (() => void)[] = [];
  readonly #series: Map<string, Series | undefined> = new Map();

  constructor(options: PrometheusOptions) {
    this.#options = options;
    this.#filter = new PrefixFilter(options.allowedPrefixes, options.blockedPrefixes);
    this.#common = {
      ...(options.trustDomainLabel ? { trust_domain: options.trustDomain } : {}),
      ...(options.hostnameLabel ? { host: hostname() } : {}),
    };
    measureProcess(this.#registry);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All figures, in Prometheus's text format. */
  text(): Promise<string> {
    for (const measure of this.#measures) measure();
    return this.#registry.metrics();
  }

  count(key: MetricKey, labels: Labels = {}, by = 1): void {
    this.#add("counter", key, by, labels);
  }

  gauge(key: MetricKey, value: number, labels: Labels = {}): void {
    this.#add("gauge", key, value, labels);
  }

  sample(key: MetricKey, value: number, labels: Labels = {}): void {
    this.#add("summary", key, value, labels);
  }

  whenRead(measure: () => void): void {
    this.#measures.push(measure);
    measure();
  }

  #add(kind: Kind, key: MetricKey, value: number, labels: Labels): void {
    const whole = this.#labels(labels);
    const name = [this.#options.prefix ?? this.#options.service, ...key];
    const id = name.join(".");
    if (!this.#series.has(id)) {
      this.#series.set(
        id,
        this.#filter.allows(id) ? this.#create(kind, name, Object.keys(whole)) : undefined,
      );
    }
    this.#series.get(id)?.add(value, whole);
  }

  #labels(labels: Labels): Labels {
    const { allowedLabels, blockedLabels } = this.#options;
    const kept = Object.entries({ ...labels, ...this.#common })
      .map(([name, value]) => [sanitized(name), sanitized(value)] as const)
      .filter(([name]) => allowedLabels?.includes(name) !== false && !blockedLabels.includes(name));
    return Object.fromEntries(kept);
  }

  #create(kind: Kind, parts: readonly string[], labelNames: readonly string[]): Series {
    const name = parts.join("_").replace(/[ .=\-/]/g, "_");
    const options = { name, help: name, labelNames, registers: [this.#registry] };
    switch (kind) {
      case "counter": {
        const counter = new Counter(options);
        return { add: (value, labels) => counter.inc(labels, value) };
      }
      case "gauge": {
        const gauge = new Gauge(options);
        return { add: (value, labels) => gauge.set(labels, value) };
      }
      case "summary": {
        const summary = new Summary({
          ...options,
          percentiles: QUANTILES,
          maxAgeSeconds: SUMMARY_AGE_SECONDS,
          ageBuckets: SUMMARY_AGE_BUCKETS,
        });
        return { add: (value, labels) => summary.observe(labels, value) };
      }
    }
  }
}

/** Whatever is neither letter, digit nor underscore becomes one underscore, as in the reference. */
function sanitized(text: string): string {
  return text.replace(/\W+_?/g, "_");
}

/** What Prometheus's own conventions say of a process. */
function measureProcess(registry: Registry): void {
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  gauge("process_resident_memory_bytes", "Resident memory in bytes", () =>
    process.memoryUsage.rss(),
  );
  gauge("process_cpu_seconds_total", "Processor time spent, in seconds", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
}
