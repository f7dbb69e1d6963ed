/**
 * The agent: all its parts, made and started in order, in one sitting. Called by `spire-agent run`; it never reads a configuration file
 * and never ends the process.
 */
import { join } from "node:path";
import { openNodeAttestor } from "#agent/attestation/node-attestor.ts";
import { refuseOtherTrustDomain } from "#agent/attestation/other-trust-domain.ts";
import { StoredState } from "#agent/attestation/stored-state.ts";
import { WorkloadCache } from "#agent/cache/workload-cache.ts";
import { type AgentConfig, storedStatePath } from "#agent/config/config.ts";
import { AGENT_KEYS } from "#agent/config/reloadable-settings.ts";
import type { CacheKeeper } from "#agent/offline/cache-keeper.ts";
import { openCacheKeeper } from "#agent/offline/open-keeper.ts";
import { JwtSvids } from "#agent/sync/jwt-svids.ts";
import type { WorkloadAttestor } from "#attestors/attestor.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import { openPlugin } from "#config/open-plugin.ts";
import { configsByKind } from "#config/plugin.ts";
import { Reconfigurer } from "#config/reconfigurer.ts";
import { ConfigInForce } from "#config/reload.ts";
import { tellReload } from "#config/tell-reload.ts";
import { Systemd } from "#dbus/systemd.ts";
import { prepareDataDirectory } from "#files/data-directory.ts";
import { KeptFiles } from "#files/kept-files.ts";
import { lockFile } from "#files/lock.ts";
import { ownerRules } from "#files/obeyed.ts";
import { UserShares } from "#grpc/user-shares.ts";
import { StorageTeller } from "#health/storage-teller.ts";
import type { Log } from "#log/log.ts";
import type { DescriptorStore } from "#notify/descriptor-store.ts";
import type { StatusSource } from "#notify/status-line.ts";
import { formatHostPort } from "#spiffe/host-port.ts";
import { errorText } from "#spiffe/status-error.ts";
import { parseX509SvidChain } from "#x509/svid.ts";
import { Membership } from "./membership.ts";
import { measure, openTelemetry, startHealthChecks } from "./observed.ts";
import { AGENT_PLUGINS } from "./plugins.ts";
import { serveAdmin, servePublic, serveUnits } from "./sockets.ts";
import { agentStatus } from "./status.ts";

const STOP_GRACE_MS = 5_000;
const LOOK_INTERVAL_MS = 5_000;
const REJOIN =
  "put the directory back before the agent is started again: without it the node has to join anew";
/** Services that start after the agent find their SVIDs there if the server is; longer than this they do not wait for a silent one. */
const FIRST_ROUND_MS = 5_000;
/** With a cache of the last run they wait less. They do wait: an entry may have gone since, and a server that is there says so. */
const FIRST_ROUND_RESTORED_MS = 1_000;

export interface AgentTools {
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
  /** What the server is told. */
  readonly version: string;
  /** Changes what `systemctl status` shows until the agent serves. */
  readonly tell: (status: string) => void;
  /** Absent when systemd does not run the agent. */
  readonly descriptors: DescriptorStore | undefined;
}

export interface RunningAgent {
  /** Resolves once the agent has stopped; rejects when the server turned it away. */
  readonly stopped: Promise<void>;
  /** Reads the files of plugins' data again. */
  reconfigure(): Promise<void>;
  stop(): Promise<void>;
  /** Takes over what it can of a configuration that was read again, and names in the log what needs a restart. */
  reload(next: AgentConfig): Promise<void>;
  readonly status: StatusSource;
}

/**
 * Starts an agent: joins if it never did, takes up what the last run left, and serves, whether the server answers or not. When any part
 * cannot start, those before it are stopped again.
 *
 * @throws Error with a message for the operator
 */
export async function runAgent(config: AgentConfig, tools: AgentTools): Promise<RunningAgent> {
  await using parts = new AsyncDisposableStack();
  openDataDirectory(config.dataDir, tools.log);
  const lockPath = join(config.dataDir, "agent.lock");
  const lock = lockFile(lockPath);
  parts.defer(() => lock.release());
  tools.log.info("Starting agent", {
    version: tools.version,
    trust_domain_id: config.trustDomain.id,
    server_address: formatHostPort({ host: config.serverAddress, port: config.serverPort }),
    socket_path: config.socketPath,
    data_dir: config.dataDir,
  });
  const metrics = await openTelemetry(config, tools, parts);
  const cache = new WorkloadCache({ ...config, clock: tools.clock });
  let isServing = false;
  const kept = new KeptFiles([config.dataDir], [lockPath]);
  const looking = lookAfter(kept, tools);
  parts.defer(() => looking.abort());
  const isReady = (): boolean =>
    isServing && kept.problem() === undefined && cache.bundles.has(config.trustDomain.name);
  await startHealthChecks(config, isReady, tools, parts);
  const reconfigurer = new Reconfigurer(tools.log, config);
  const pluginTools = { ...tools, reconfigurer };
  const keys = await openPlugin(AGENT_PLUGINS.keyManager, config.plugins.keyManager, pluginTools);
  const state = await StoredState.open(storedStatePath(config.dataDir));
  refuseOtherTrustDomain(config.trustDomain, state.current, keptFiles(config));
  const jwtSvids = new JwtSvids(
    tools.clock,
    config.jwtSvidCacheMaxSize,
    config.jwtSvidCacheHitTimeoutSeconds * 1000,
  );
  measure(metrics, { cache, jwtSvids, state });
  const keeper = await openKeeper(config, tools, cache, state);
  const restored = await keeper?.restore();
  const held = { keys, state, cache, jwtSvids, metrics };
  const { open: openAttestor } = await openNodeAttestor(config, pluginTools);
  const membership = new Membership({ config, ...held, ...tools, openAttestor });
  await membership.open();
  keeper?.start();
  parts.defer(() => keeper?.stop());
  const work = membership.run();
  parts.defer(() => {
    membership.stop();
    return work.catch(() => {});
  });
  const timeoutMs = restored ? FIRST_ROUND_RESTORED_MS : FIRST_ROUND_MS;
  await Promise.race([membership.firstRound, work, tools.clock.sleep(timeoutMs)]);
  const systemd = new Systemd(tools.clock, process.env);
  parts.defer(() => systemd.close());
  const attestors: WorkloadAttestor[] = [];
  for (const one of config.plugins.workloadAttestors) {
    const workloadTools = { ...pluginTools, systemd };
    attestors.push(await openPlugin(AGENT_PLUGINS.workloadAttestors, one, workloadTools));
  }
  const inForce = new ConfigInForce(AGENT_KEYS, config);
  const settings = (): AgentConfig => inForce.config;
  const served = {
    kept,
    config,
    settings,
    cache,
    jwtSvids,
    attestors,
    systemd,
    server: membership,
  };
  const serving = { ...served, metrics, ...tools, shares: new UserShares() };
  for (const serve of [servePublic, serveAdmin, serveUnits]) {
    const listener = await serve(serving);
    if (listener === undefined) continue;
    parts.defer(() => {
      cache.close();
      return listener.close(STOP_GRACE_MS);
    });
  }
  isServing = true;
  return {
    ...running(work, parts.move(), tools.log),
    reconfigure: () => reconfigurer.reconfigure(),
    reload: async (next) => {
      tellReload(tools.log, inForce.take(next), next);
      await reconfigurer.follow(configsByKind(AGENT_PLUGINS, inForce.config.plugins));
      cache.reconsider();
      membership.wake();
    },
    status: agentStatus({ config, cache, membership, clock: tools.clock }),
  };
}

/** @throws Error when the directory cannot be made or written to, or somebody else can put another in its place */
function openDataDirectory(path: string, log: Log): void {
  try {
    const warning = prepareDataDirectory(path, ownerRules());
    if (warning !== undefined) log.warn(warning);
  } catch (error) {
    throw new Error(`data directory ${path} cannot be used: ${errorText(error)}`);
  }
}

/** Says once that what the agent keeps is lost or takes no change, and once that all is well again. */
function lookAfter(kept: KeptFiles, { clock, log }: AgentTools): AbortController {
  const stopping = new AbortController();
  const message = "The agent's data is lost to it";
  const teller = new StorageTeller(kept, log, { message, next: REJOIN });
  const loop = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(LOOK_INTERVAL_MS, stopping.signal);
      if (stopping.signal.aborted) return;
      teller.look();
    }
  };
  void loop();
  return stopping;
}

/** What an agent that joined has of its trust domain. */
function keptFiles({ dataDir, plugins: { keyManager } }: AgentConfig): readonly string[] {
  const state = storedStatePath(dataDir);
  return keyManager.name === "disk" ? [state, keyManager.keysPath] : [state];
}

function openKeeper(
  config: AgentConfig,
  { clock, log, descriptors }: AgentTools,
  cache: WorkloadCache,
  state: StoredState,
): Promise<CacheKeeper | undefined> {
  const owner = () => {
    const { svid } = state.current;
    return svid.length === 0
      ? undefined
      : { trustDomain: config.trustDomain.name, agentId: parseX509SvidChain(svid).id.toString() };
  };
  return openCacheKeeper(config.offline, descriptors, {
    cache,
    owner,
    clock,
    log: log.with({ subsystem_name: "offline" }),
  });
}

function running(
  work: Promise<void>,
  parts: AsyncDisposableStack,
  log: Log,
): Pick<RunningAgent, "stopped" | "stop"> {
  const { promise: stopped, resolve, reject } = Promise.withResolvers<void>();
  let stopping: Promise<void> | undefined;
  const stop = (failure?: unknown): Promise<void> => {
    stopping ??= parts
      .disposeAsync()
      .then(() => (failure === undefined ? resolve() : reject(failure)), reject);
    return stopping;
  };
  work.catch((error: unknown) => {
    log.error("The agent cannot continue", { error: errorText(error) });
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
