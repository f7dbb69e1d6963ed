/** How others see that the agent works: figures for Prometheus, and health over HTTP. */
import { serveHealthChecks } from "#health/health-checks.ts";
import type { Metrics } from "#telemetry/metrics.ts";
import { startTelemetry } from "#telemetry/telemetry.ts";
import type { AgentTools } from "./agent.ts";
import type { AgentConfig } from "./config.ts";

/** @param parts ends it @throws Error when the exporter's address or files cannot be used */
export async function openTelemetry(
  { telemetry: config, trustDomain, tlsPolicy: policy }: AgentConfig,
  { clock, log, version }: AgentTools,
  parts: AsyncDisposableStack,
): Promise<Metrics> {
  const telemetry = await startTelemetry(config, {
    service: "spire_agent",
    trustDomain: trustDomain.name,
    policy,
    version,
    clock,
    log: log.with({ subsystem_name: "telemetry" }),
  });
  parts.defer(() => telemetry.close());
  return telemetry.metrics;
}

/**
 * Started first, so that whoever watches sees an agent that lives while it waits for its server. To start it anew would not help then, so
 * only readiness waits for what workloads are served from.
 *
 * @throws Error when the address cannot be listened on
 */
export async function startHealthChecks(
  { healthChecks: config }: AgentConfig,
  isReady: () => boolean,
  { log }: AgentTools,
  parts: AsyncDisposableStack,
): Promise<void> {
  if (config === undefined) return;
  const live = async (): Promise<Record<string, string>> => ({});
  const ready = async (): Promise<Record<string, string>> =>
    // The name is the reference's.
    isReady() ? {} : { make_new_x509_err: "workload api is unavailable" };
  const health = { live: { agent: live }, ready: { agent: ready } };
  const listener = await serveHealthChecks(config, health, log.with({ subsystem_name: "health" }));
  parts.defer(() => listener.close());
}
