/** Where the server is reached: by agents and other trust domains, by its operators, and by whoever asks how it is. */
import type { KeptFiles } from "#files/kept-files.ts";
import type { BoundService } from "#grpc/bind.ts";
import { listenTls } from "#grpc/tls-listener.ts";
import { listenUnix } from "#grpc/unix-listener.ts";
import { serveHealthChecks } from "#health/health-checks.ts";
import { isLocalOnly } from "#server/api/call/authorization.ts";
import type { ServerConfig } from "#server/config/config.ts";
import type { Metrics } from "#telemetry/metrics.ts";
import { rpcCounter } from "#telemetry/rpc-key.ts";
import type { CaManager } from "./ca/ca-manager.ts";
import type { DataStore } from "./datastore/datastore.ts";
import {
  type FederationParts,
  type ShownBundleEndpoint,
  startBundleEndpoint,
} from "./federation.ts";
import type { ServerSvid } from "./server-svid.ts";
import { type ServerTools, subsystem } from "./server-tools.ts";

/** How long calls under way may take to end when the server stops. */
const STOP_GRACE_MS = 10_000;

/** Opens the endpoints to the world, the last step but one: whoever connects finds everything else in place. */
export async function listenForAgents(
  config: ServerConfig,
  tools: ServerTools,
  services: readonly BoundService[],
  svid: ServerSvid,
  federation: FederationParts,
  parts: AsyncDisposableStack,
): Promise<{ readonly address: string; readonly bundleEndpoint: ShownBundleEndpoint }> {
  const log = subsystem(tools, "endpoints");
  // Others learn of these services just that they are not here, as from the reference.
  const reached = services.filter(({ methods }) => !methods.every(({ path }) => isLocalOnly(path)));
  const offered = { services: reached, observer: { ended: rpcCounter(federation.metrics) }, log };
  const tls = await listenTls({
    host: config.bindAddress,
    port: config.bindPort,
    identity: svid.identity,
    policy: federation.policy,
    trustedProxies: config.trustedProxies,
    ...offered,
  });
  parts.defer(() => tls.close(STOP_GRACE_MS));
  const bundleEndpoint = await startBundleEndpoint(federation, svid.identity, parts);
  const rotation = svid.rotate((identity) => {
    tls.setIdentity(identity);
    bundleEndpoint.show(identity);
  });
  parts.defer(() => rotation.stop());
  log.info("Starting Server APIs", { address: tls.address, network: "tcp" });
  return { address: tls.address, bundleEndpoint };
}

/** Opens the socket of the commands. */
export async function listenForOperators(
  { socketPath }: ServerConfig,
  tools: ServerTools,
  services: readonly BoundService[],
  metrics: Metrics,
  parts: AsyncDisposableStack,
): Promise<void> {
  const log = subsystem(tools, "endpoints");
  const admin = await listenUnix({
    path: socketPath,
    socketMode: 0o770,
    directoryMode: 0o750,
    // Who may open the socket may administrate, also from a container.
    fromOtherNamespaces: true,
    isForKnown: true,
    services,
    observer: { ended: rpcCounter(metrics) },
    log,
  });
  parts.defer(() => admin.close(STOP_GRACE_MS));
  log.info("Starting Server APIs", { address: admin.address, network: "unix" });
}

/** Started last: whoever asks finds a server that has all its parts. */
export async function startHealthChecks(
  { healthChecks, trustDomain }: ServerConfig,
  tools: ServerTools,
  {
    store,
    ca,
    kept,
  }: {
    readonly store: DataStore;
    readonly ca: CaManager;
    readonly kept: KeptFiles;
  },
  parts: AsyncDisposableStack,
): Promise<void> {
  if (healthChecks === undefined) return;
  const server = async (): Promise<Record<string, string>> => {
    const bundle = await store.bundles.find(trustDomain.name);
    return bundle === undefined ? { get_bundle_err: "unable to fetch bundle: not found" } : {};
  };
  const ready = async (): Promise<Record<string, string>> => {
    const waitingFor = ca.waitingFor();
    if (waitingFor !== undefined) return { x509_ca_err: waitingFor };
    const problem = kept.problem();
    return problem === undefined ? await server() : { datastore_err: problem.text };
  };
  // A server that waits for its CA is not helped by a restart, nor one that cannot store anything: without its data it would begin anew.
  const live = async (): Promise<Record<string, string>> =>
    ca.waitingFor() === undefined ? await server() : {};
  const health = { live: { server: live }, ready: { server: ready } };
  const listener = await serveHealthChecks(healthChecks, health, subsystem(tools, "health"));
  parts.defer(() => listener.close());
}
