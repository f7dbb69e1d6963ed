/** The agent's sockets: the public one for workloads, and where the configuration asks for them the admin socket and the one for units. */
import type { AgentFacts } from "#agent/admin-api/debug.ts";
import { listenAdmin } from "#agent/admin-api/listen.ts";
import { CallLimits } from "#agent/attestation/call-rates.ts";
import type { ServerClients } from "#agent/attestation/server-connection.ts";
import { HandedOut } from "#agent/audit/handed-out.ts";
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type { AgentConfig } from "#agent/config/config.ts";
import { createExplainService } from "#agent/explain/explain.ts";
import type { Knowledge } from "#agent/explain/explanation.ts";
import { createSecretDiscoveryService } from "#agent/sds/sds.ts";
import type { JwtSvids } from "#agent/sync/jwt-svids.ts";
import { RefusalLog } from "#agent/workload-api/refusal-log.ts";
import { createWorkloadApi, type WorkloadApiParts } from "#agent/workload-api/workload-api.ts";
import type { WorkloadAttestor } from "#attestors/attestor.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { Systemd } from "#dbus/systemd.ts";
import { isNobodyElse } from "#files/accounts.ts";
import type { KeptFiles } from "#files/kept-files.ts";
import type { Caller } from "#grpc/caller.ts";
import { createHealthService } from "#grpc/health.ts";
import type { GrpcListener } from "#grpc/listener.ts";
import { withReflection } from "#grpc/reflection.ts";
import { listenUnix } from "#grpc/unix-listener.ts";
import type { UserShares } from "#grpc/user-shares.ts";
import type { Log } from "#log/log.ts";
import type { DescriptorStore } from "#notify/descriptor-store.ts";
import type { Metrics } from "#telemetry/metrics.ts";
import { apiObserver } from "./observed.ts";

/** FileDescriptorName= of spire-agent.socket. */
const SOCKET_NAME = "workload-api";
const NO_BUNDLE = "it has no trust bundle yet";

export interface SocketParts {
  readonly config: AgentConfig;
  /** What may change while the agent runs, as it is at this moment. */
  readonly settings: () => Pick<
    AgentConfig,
    | "auditLogEnabled"
    | "authorizedDelegates"
    | "callRates"
    | "logSelectors"
    | "allowUnauthenticatedVerifiers"
    | "allowedForeignJwtClaims"
  >;
  /** What the agent keeps. */
  readonly kept: KeptFiles;
  readonly cache: WorkloadCache;
  readonly jwtSvids: JwtSvids;
  readonly attestors: readonly WorkloadAttestor[];
  readonly systemd: Systemd;
  readonly server: Knowledge["server"] & {
    /** The present connection; it changes when the agent's SVID does. */
    readonly clients: ServerClients;
    readonly identity: Pick<AgentFacts, "chain" | "roots">;
    readonly lastSyncSuccess: number;
  };
  /** What systemd handed over at the start; absent without it. */
  readonly descriptors: DescriptorStore | undefined;
  /** What each local user takes up at all of them. */
  readonly shares: UserShares;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly log: Log;
}

/**
 * @returns undefined when the configuration disables all that the public socket is for
 * @throws Error with a message for the operator when the socket cannot be had
 */
export async function servePublic(parts: SocketParts): Promise<GrpcListener | undefined> {
  const { cache, config, kept, random } = parts;
  if (config.disableWorkloadApi && config.disableSdsApi) return undefined;
  const shared = sharedParts(parts);
  const { log } = shared;
  const problem = async (caller: Caller): Promise<string | undefined> => {
    const found = kept.problem()?.text ?? (cache.ownBundle === undefined ? NO_BUNDLE : undefined);
    return found === undefined || mayKnow(caller) ? found : "";
  };
  const explain = createExplainService({ ...shared, server: parts.server }, "workload");
  const workloadApi = config.disableWorkloadApi ? [] : [createWorkloadApi(shared), explain];
  const sds = config.disableSdsApi
    ? []
    : [createSecretDiscoveryService({ ...shared, random, sds: config.sds })];
  const health = createHealthService({ problem }, { log });
  log.info("Starting agent APIs", {
    address: config.socketPath,
    network: "unix",
    apis: apiNames(config),
  });
  return listenUnix({
    path: config.socketPath,
    descriptor: parts.descriptors?.given.find(({ name }) => name === SOCKET_NAME)?.descriptor,
    socketMode: 0o777,
    directoryMode: 0o755,
    services: withReflection([...workloadApi, ...sds, health], { log }),
    shares: parts.shares,
    observer: apiObserver(parts.metrics),
    log,
  });
}

/** Why the agent is not healthy is for whoever has its data anyway. */
function mayKnow(caller: Caller): boolean {
  return caller.kind === "unix" && isNobodyElse(caller.peer.uid);
}

function apiNames({ disableWorkloadApi, disableSdsApi }: AgentConfig): string {
  if (disableSdsApi) return "Workload API";
  return disableWorkloadApi ? "SDS API" : "Workload and SDS APIs";
}

/**
 * @returns undefined when the configuration asks for no admin socket
 * @throws Error with a message for the operator when the socket cannot be had
 */
export async function serveAdmin(parts: SocketParts): Promise<GrpcListener | undefined> {
  const { config, cache, jwtSvids, server } = parts;
  if (config.adminSocketPath === undefined) return undefined;
  return listenAdmin({
    ...sharedParts(parts),
    server,
    shares: parts.shares,
    path: config.adminSocketPath,
    observer: apiObserver(parts.metrics),
    authorizedDelegates: () => parts.settings().authorizedDelegates,
    facts: () => ({
      ...server.identity,
      lastSyncSuccess: server.lastSyncSuccess,
      cachedX509Svids: cache.svidCount,
      cachedJwtSvids: jwtSvids.size,
    }),
  });
}

/**
 * @returns undefined when the configuration asks for no credentials socket
 * @throws Error with a message for the operator when the socket cannot be had
 */
export async function serveUnits(
  parts: SocketParts,
): Promise<Pick<GrpcListener, "close"> | undefined> {
  const { credentialsSocketPath: path } = parts.config;
  if (path === undefined) return undefined;
  const { serveCredentials } = await import("#agent/credentials/credentials-socket.ts");
  return serveCredentials({ ...sharedParts(parts), systemd: parts.systemd, path });
}

function sharedParts({ config, settings, server, ...parts }: SocketParts): WorkloadApiParts {
  const { clock, metrics } = parts;
  const log = parts.log.with({ subsystem_name: "endpoints" });
  const refusals = new RefusalLog({ logSelectors: () => settings().logSelectors, clock, log });
  return {
    ...parts,
    limits: new CallLimits(() => settings().callRates, clock, metrics),
    refusals,
    logOf: (uid) => refusals.of(uid),
    handedOut: new HandedOut({ auditLogEnabled: () => settings().auditLogEnabled, clock, log }),
    trustDomain: config.trustDomain,
    clients: () => server.clients,
    allowUnauthenticatedVerifiers: () => settings().allowUnauthenticatedVerifiers,
    allowedForeignJwtClaims: () => settings().allowedForeignJwtClaims,
    log,
  };
}
