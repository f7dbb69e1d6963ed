/**
 * The agent: all its parts, made and started in order, in one sitting. Called by `spire-agent run`; it never reads a configuration file
 * and never ends the process.
 */
import { accessSync, constants, mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  type AgentSvid,
  attestationKey,
  attestNode,
  recoverSvid,
} from "#agent/attestation/agent-svid.ts";
import { loadState, saveState } from "#agent/attestation/stored-state.ts";
import { bootstrapBundle } from "#agent/attestation/trust-bundle.ts";
import { WorkloadCache } from "#agent/cache/workload-cache.ts";
import { JwtSvids } from "#agent/sync/jwt-svids.ts";
import { rotationRule } from "#agent/sync/rotation.ts";
import { connectServer } from "#agent/sync/server-connection.ts";
import { Synchronizer, type SynchronizerParts } from "#agent/sync/synchronizer.ts";
import { createWorkloadApi } from "#agent/workload-api/workload-api.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import { lockFile } from "#files/lock.ts";
import { createHealthService } from "#grpc/health.ts";
import { listenUnix } from "#grpc/unix-listener.ts";
import type { KeyManager } from "#keymanager/key-manager.ts";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import { type AgentConfig, storedStatePath } from "./config.ts";
import { openKeyManager, openNodeAttestor, openWorkloadAttestors } from "./plugins.ts";
import { retryAtStart } from "./start-retry.ts";

const STOP_GRACE_MS = 5_000;

export interface AgentTools {
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
  /** What the server is told. */
  readonly version: string;
}

export interface RunningAgent {
  /** Resolves once the agent has stopped; rejects when the server turned it away. */
  readonly stopped: Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts an agent: joins if it must, synchronises once, and serves. When any part cannot start, those before it are stopped again.
 *
 * @throws Error with a message for the operator
 */
export async function runAgent(config: AgentConfig, tools: AgentTools): Promise<RunningAgent> {
  await using parts = new AsyncDisposableStack();
  prepareDataDirectory(config.dataDir);
  const lock = lockFile(join(config.dataDir, "agent.lock"));
  parts.defer(() => lock.release());
  const keys = await openKeyManager(config, tools.log);
  const { svid, roots } = await attest(config, tools, keys);
  const cache = new WorkloadCache({ ...config, clock: tools.clock });
  const jwtSvids = new JwtSvids(tools.clock, config.jwtSvidCacheMaxSize);
  const synchronizer = createSynchronizer(config, tools, keys, { cache, jwtSvids }, svid, roots);
  parts.defer(() => synchronizer.stop());
  await retryAtStart("synchronise", tools, () => synchronizer.synchronize());
  void synchronizer.postStatus(tools.version);
  if (!config.disableWorkloadApi) {
    const listener = await serve(config, tools, { cache, jwtSvids }, synchronizer);
    parts.defer(() => {
      cache.close();
      return listener.close(STOP_GRACE_MS);
    });
  }
  return running(synchronizer, parts.move(), tools.log);
}

/** @throws Error when the directory cannot be made or written to */
function prepareDataDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    accessSync(path, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new Error(`data directory ${path} cannot be used: ${errorText(error)}`);
  }
}

async function attest(
  config: AgentConfig,
  tools: AgentTools,
  keys: KeyManager,
): Promise<{ readonly svid: AgentSvid; readonly roots: readonly Uint8Array[] }> {
  const log = tools.log.with({ subsystem_name: "attestor" });
  const path = storedStatePath(config.dataDir);
  const state = await loadState(path);
  const recovered = recoverSvid(state.svid, state.reattestable, keys, tools.clock);
  if (recovered !== undefined && state.bundle.length > 0) {
    log.info("SVID loaded", { spiffe_id: recovered.id.toString() });
    return { svid: recovered, roots: state.bundle };
  }
  log.info("SVID is not found. Starting node attestation");
  const attestor = await openNodeAttestor(config, tools.random);
  const key = await attestationKey(keys, state.bundle.length === 0);
  return retryAtStart("attest", tools, async () => {
    const roots = await bootstrapBundle(config, state.bundle, log);
    const clients = connectServer(config, roots, undefined, tools.clock);
    try {
      const svid = await attestNode(clients, attestor, key, config.trustDomain);
      await saveState(path, { svid: svid.chain, bundle: roots, reattestable: svid.reattestable });
      log.info("Node attestation was successful", {
        spiffe_id: svid.id.toString(),
        reattestable: svid.reattestable,
      });
      return { svid, roots };
    } finally {
      clients.close();
    }
  });
}

function createSynchronizer(
  config: AgentConfig,
  tools: AgentTools,
  keys: KeyManager,
  caches: Pick<SynchronizerParts, "cache" | "jwtSvids">,
  svid: AgentSvid,
  roots: readonly Uint8Array[],
): Synchronizer {
  return new Synchronizer(
    {
      address: config,
      syncIntervalSeconds: config.syncIntervalSeconds,
      rotation: rotationRule(config, tools.random),
      workloadKeyType: config.workloadX509SvidKeyType,
      keys,
      openAttestor: () => openNodeAttestor(config, tools.random),
      ...caches,
      clock: tools.clock,
      random: tools.random,
      log: tools.log.with({ subsystem_name: "manager" }),
      save: (current, bundle) =>
        saveState(storedStatePath(config.dataDir), {
          svid: current?.chain ?? [],
          bundle,
          reattestable: current?.reattestable ?? false,
        }),
    },
    svid,
    roots,
  );
}

function serve(
  config: AgentConfig,
  tools: AgentTools,
  { cache, jwtSvids }: Pick<SynchronizerParts, "cache" | "jwtSvids">,
  synchronizer: Synchronizer,
): ReturnType<typeof listenUnix> {
  const log = tools.log.with({ subsystem_name: "endpoints" });
  const workloadApi = createWorkloadApi({
    trustDomain: config.trustDomain,
    cache,
    attestors: openWorkloadAttestors(config),
    jwtSvids,
    clients: () => synchronizer.clients,
    allowUnauthenticatedVerifiers: config.allowUnauthenticatedVerifiers,
    allowedForeignJwtClaims: config.allowedForeignJwtClaims,
    clock: tools.clock,
    log,
  });
  const hasBundle = async (): Promise<boolean> => cache.bundles.has(config.trustDomain.name);
  log.info("Starting Workload and SDS APIs", { address: config.socketPath, network: "unix" });
  return listenUnix({
    path: config.socketPath,
    socketMode: 0o777,
    directoryMode: 0o755,
    services: [workloadApi, createHealthService({ check: hasBundle }, { log })],
    log,
  });
}

function running(synchronizer: Synchronizer, parts: AsyncDisposableStack, log: Log): RunningAgent {
  const { promise: stopped, resolve, reject } = Promise.withResolvers<void>();
  let stopping: Promise<void> | undefined;
  const stop = (failure?: unknown): Promise<void> => {
    stopping ??= parts
      .disposeAsync()
      .then(() => (failure === undefined ? resolve() : reject(failure)), reject);
    return stopping;
  };
  synchronizer.run().catch((error: unknown) => {
    log.error("The agent cannot go on", { error: errorText(error) });
    return stop(error);
  });
  return {
    stopped,
    stop: async () => {
      await stop();
      await stopped;
    },
  };
}
