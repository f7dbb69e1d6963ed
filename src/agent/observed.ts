/** How others see that the agent works: figures for Prometheus, and health over HTTP. */
import type { StoredState } from "#agent/attestation/stored-state.ts";
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type { AgentConfig } from "#agent/config/config.ts";
import type { JwtSvids } from "#agent/sync/jwt-svids.ts";
import type { CallObserver } from "#grpc/bind.ts";
import { serveHealthChecks } from "#health/health-checks.ts";
import type { Metrics } from "#telemetry/metrics.ts";
import { rpcCounter, rpcKey } from "#telemetry/rpc-key.ts";
import { startTelemetry } from "#telemetry/telemetry.ts";
import type { AgentTools } from "./agent.ts";

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

interface Measured {
  readonly cache: Pick<WorkloadCache, "entries" | "bundles" | "svidCount">;
  readonly jwtSvids: Pick<JwtSvids, "size">;
  readonly state: Pick<StoredState, "current">;
}

/** Measures what the agent holds, and how it came to know its server. */
export function measure(metrics: Metrics, { cache, jwtSvids, state }: Measured): void {
  metrics.whenRead(() => {
    const { bootstrapMode, bootstrapStart, connectionAttempts } = state.current;
    const mode = { mode: bootstrapMode ?? "bootstrap" };
    metrics.gauge(["bootstrapped"], bootstrapStart === 0 ? 1 : 0);
    metrics.gauge(["bootstrap_seconds"], bootstrapStart, mode);
    metrics.gauge(["bootstrap_attempts"], connectionAttempts, mode);
    metrics.gauge(["sync_entries_total"], cache.entries.size);
    metrics.gauge(["sync_bundles_total"], cache.bundles.size);
    metrics.gauge(["lru_cache_record_map_size"], cache.entries.size);
    metrics.gauge(["lru_cache_svid_map_size"], cache.svidCount);
    metrics.gauge(["jwt_svid_cache_size"], jwtSvids.size);
  });
}

/** The reference counts callers by the API they call, under names of its own. */
const APIS: Readonly<Record<string, string>> = {
  debug: "debug_api",
  delegated_identity: "delegated_identity_api",
  logger: "logger_api",
  sds: "sds_api",
  workload_api: "workload_api",
};

/** Counts the calls of a socket, and those under way. */
export function apiObserver(metrics: Metrics): CallObserver {
  const underWay = new Map<string, number>();
  const add = (method: string, by: 1 | -1): void => {
    const api = APIS[rpcKey(method)[1] ?? ""];
    if (api === undefined) return;
    const count = (underWay.get(api) ?? 0) + by;
    underWay.set(api, count);
    metrics.gauge([api, "connections"], count);
    if (by === 1) metrics.count([api, "connection"]);
  };
  const ended = rpcCounter(metrics);
  return {
    started: (method) => add(method, 1),
    ended: (method, error, elapsedMs) => {
      add(method, -1);
      ended(method, error, elapsedMs);
    },
  };
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
