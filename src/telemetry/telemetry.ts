/** Telemetry as it is configured: figures for Prometheus, or none. */
import { readFile } from "node:fs/promises";
import type { Clock } from "#clock/clock.ts";
import type { HttpListener, HttpTls } from "#http/http-listener.ts";
import type { TlsPolicy } from "#http/tls-policy.ts";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import type { PrometheusTls, TelemetryConfig } from "./config.ts";
import { type Metrics, noMetrics } from "./metrics.ts";
import type { PrometheusMetrics } from "./prometheus.ts";

const UPTIME_INTERVAL_MS = 10_000;

export interface Telemetry {
  readonly metrics: Metrics;
  close(): Promise<void>;
}

export interface TelemetryParts {
  /** `spire_server` or `spire_agent`. */
  readonly service: string;
  readonly trustDomain: string;
  readonly policy: TlsPolicy;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** @throws Error when the exporter's address or files cannot be used */
export async function startTelemetry(
  config: TelemetryConfig,
  parts: TelemetryParts,
): Promise<Telemetry> {
  const { prometheus } = config;
  if (prometheus === undefined) return { metrics: noMetrics, close: async () => {} };
  const { clock, log, policy, service, trustDomain, version } = parts;
  // What only some are configured for is loaded by those alone: it costs memory and time to start.
  const { PrometheusMetrics } = await import("./prometheus.ts");
  const metrics = new PrometheusMetrics({ ...config, service, trustDomain });
  const listener = await listenPrometheus(prometheus, policy, metrics);
  log.info("Starting prometheus exporter", { host: prometheus.host, port: prometheus.port });
  if (prometheus.host !== "localhost") {
    log.warn(
      "Prometheus figures are offered to the network; see to it that only who should can read them",
    );
  }
  metrics.gauge(["started"], 1, { version, trust_domain_id: trustDomain });
  const startedMs = clock.monotonicMs();
  const stopping = new AbortController();
  const uptime = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      metrics.gauge(["uptime_in_ms"], Math.round(clock.monotonicMs() - startedMs));
      await clock.sleep(UPTIME_INTERVAL_MS, stopping.signal);
    }
  };
  const measuring = uptime();
  return {
    metrics,
    close: async () => {
      stopping.abort();
      await Promise.all([measuring, listener.close()]);
    },
  };
}

/** Every path gives the figures, as in the reference. */
async function listenPrometheus(
  { host, port, tls }: NonNullable<TelemetryConfig["prometheus"]>,
  policy: TlsPolicy,
  metrics: PrometheusMetrics,
): Promise<HttpListener> {
  const { listenHttp } = await import("#http/http-listener.ts");
  return await listenHttp({
    host,
    port,
    ...(tls === undefined ? {} : { tls: { ...(await readTlsFiles(tls)), policy } }),
    answer: async () => ({
      status: 200,
      contentType: metrics.contentType,
      body: await metrics.text(),
    }),
  });
}

async function readTlsFiles({
  certPath,
  keyPath,
  clientCaPath,
}: PrometheusTls): Promise<Omit<HttpTls, "policy">> {
  const read = async (path: string): Promise<string> => {
    try {
      return await readFile(path, "utf8");
    } catch (error) {
      throw new Error(`telemetry: cannot read ${path}: ${errorText(error)}`);
    }
  };
  return {
    certificatePem: await read(certPath),
    privateKeyPem: await read(keyPath),
    ...(clientCaPath === undefined ? {} : { clientCaPem: await read(clientCaPath) }),
  };
}
