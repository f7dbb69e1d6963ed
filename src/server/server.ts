/**
 * The server: all its parts, made and started in order, in one sitting. Called by `spire-server run`; it never reads a
 * configuration file and never ends the process.
 */
import { hostname } from "node:os";
import { join } from "node:path";
import type { NodeAttestorServer, NodeAttestorServerParts } from "#attestors/attestor.ts";
import { openPlugin } from "#config/open-plugin.ts";
import { Reconfigurer } from "#config/reconfigurer.ts";
import { ConfigInForce } from "#config/reload.ts";
import { KeptFiles } from "#files/kept-files.ts";
import { lockFile } from "#files/lock.ts";
import type { BoundService } from "#grpc/bind.ts";
import { StorageTeller } from "#health/storage-teller.ts";
import { tlsPolicy } from "#http/tls-policy.ts";
import { Watchers } from "#server/api/changes/changes-watchers.ts";
import type { WitSvidProfile } from "#server/ca/profile/profile.ts";
import type { ServerConfig } from "#server/config/config.ts";
import { joinAddress } from "#server/config/join-address.ts";
import { SERVER_KEYS } from "#server/config/reloadable-settings.ts";
import type { Metrics } from "#telemetry/metrics.ts";
import { startTelemetry } from "#telemetry/telemetry.ts";
import type { Upstream, UpstreamParts } from "#upstream/upstream-authority.ts";
import { type ApiParts, createApi } from "./api/api.ts";
import { refuseUnfinished } from "./backup/unfinished.ts";
import { CaManager } from "./ca/ca-manager.ts";
import { prepareDataDirectory } from "./data-directory.ts";
import type { DataStore } from "./datastore/datastore.ts";
import { DirectoryKeeper } from "./declared/keep-directory.ts";
import { Reconciler } from "./declared/reconcile.ts";
import { listenForAgents, listenForOperators, startHealthChecks } from "./endpoints.ts";
import { EntryRegistry } from "./entries/registry.ts";
import { type ShownBundleEndpoint, startBundleRefresher } from "./federation.ts";
import { meteredDataStore } from "./metered-datastore.ts";
import { refuseOtherTrustDomain } from "./other-trust-domain.ts";
import { type PeriodicTask, periodically } from "./periodic.ts";
import { ALWAYS_TAKEN, SERVER_PLUGINS, type ServerPlugins } from "./plugins.ts";
import { startPruning } from "./pruning.ts";
import { reloadServer } from "./reload.ts";
import { readLostTime } from "./restored.ts";
import { type RunningServer, running, waiting } from "./running-server.ts";
import { ServerSvid } from "./server-svid.ts";
import { type ServerTools, subsystem, tellStart } from "./server-tools.ts";
import { serverStatus } from "./status.ts";

const LOOK_INTERVAL_MS = 5_000;
const RESTORE =
  "spire-server backup restore, before the server is started again: without a backup it would begin anew, with a CA that no agent trusts";

/**
 * Starts a server. When any part cannot start, those started before it are stopped again, in reverse.
 *
 * @throws Error with a message for the operator
 */
export async function runServer(config: ServerConfig, tools: ServerTools): Promise<RunningServer> {
  await using parts = new AsyncDisposableStack();
  const exposed = prepareDataDirectory(config.dataDir);
  if (exposed !== undefined) tools.log.warn(exposed);
  const lockPath = join(config.dataDir, "server.lock");
  const lock = lockFile(lockPath);
  parts.defer(() => lock.release());
  refuseUnfinished(config.dataDir);
  tellStart(config, tools);
  const inForce = new ConfigInForce(SERVER_KEYS, config);
  const metrics = await openTelemetry(config, tools, parts);
  const reconfigurer = new Reconfigurer(tools.log, config);
  const pluginTools = { ...tools, reconfigurer };
  const { dataStore } = config.plugins;
  const storeTools = { ...pluginTools, log: subsystem(tools, "datastore") };
  const opened = await openPlugin(SERVER_PLUGINS.dataStore, dataStore, storeTools);
  parts.defer(() => opened.close());
  const place = dataStore.connectionString;
  await refuseOtherTrustDomain(config.trustDomain, opened, place);
  const kept = new KeptFiles([config.dataDir, place], [lockPath, `${place}.lock`]);
  const looking = lookAfter(kept, tools);
  parts.defer(() => looking.stop());
  const store = meteredDataStore(opened, { metrics, clock: tools.clock });
  const ca = await startCa(inForce, pluginTools, store, metrics, parts);
  const authorized = await EntryRegistry.open(store, config.trustDomain);
  const watchers = new Watchers({ ...tools, registry: authorized });
  const federation = {
    ...tools,
    trustDomain: config.trustDomain,
    config: () => inForce.config.federation,
    store,
    policy: tlsPolicy(config.experimental.requirePqKem),
    metrics,
  };
  const refresher = startBundleRefresher(federation);
  parts.defer(() => refresher.stop());
  let svid: ServerSvid | undefined;
  const serverChain = (): readonly Uint8Array[] => svid?.chain ?? [];
  const reconciler = new Reconciler({ trustDomain: config.trustDomain, store, ...tools });
  const made = {
    metrics,
    store,
    kept,
    ca,
    authorized,
    watchers,
    refresher,
    reconciler,
    serverChain,
  };
  const services = await createServices(inForce, pluginTools, made);
  const keeper = await startKeeper(inForce, tools, made, parts);
  // What listens for agents may come later than all else, but is closed when its turn is.
  const listeners = parts.use(new AsyncDisposableStack());
  let bundleEndpoint: ShownBundleEndpoint | undefined;
  const serveAgents = async (): Promise<string> => {
    svid = await issueServerSvid(config, tools, made);
    const opened = await listenForAgents(config, tools, services, svid, federation, listeners);
    bundleEndpoint = opened.bundleEndpoint;
    return opened.address;
  };
  const what = ca.waitingFor();
  const address =
    what === undefined ? await serveAgents() : `${config.bindAddress}:${config.bindPort}`;
  await listenForOperators(config, tools, services, metrics, parts);
  // Before the listeners: they wait for calls under way, and a watch would be under way for minutes.
  parts.defer(() => watchers.close());
  startPruningTasks(config, tools, store, parts);
  await startHealthChecks(config, tools, made, parts);
  const lookNow = async (): Promise<void> => await bundleEndpoint?.lookNow();
  const reread = { inForce, reconfigurer, ca, refresher, bundleEndpoint: { lookNow }, keeper };
  const live = {
    reconfigure: () => reconfigurer.reconfigure(),
    reload: (next: ServerConfig) => reloadServer({ ...reread, log: tools.log }, next),
    status: serverStatus({
      trustDomain: config.trustDomain.name,
      address,
      store,
      ca,
      declared: keeper,
    }),
  };
  if (what === undefined) return running(address, live, parts.move(), tools.log);
  const late = { address, what, over: ca.live, serveAgents };
  return waiting(late, live, parts.move(), tools.log);
}

/** Before the listeners: the first agent that asks finds the entries as they are declared. */
async function startKeeper(
  inForce: ConfigInForce<ServerConfig>,
  tools: ServerTools,
  made: Pick<ServiceParts, "store" | "reconciler">,
  parts: AsyncDisposableStack,
): Promise<DirectoryKeeper | undefined> {
  const { entriesDir } = inForce.config;
  if (entriesDir === undefined) return undefined;
  const log = subsystem(tools, "declared_entries");
  const { clock } = tools;
  const auditLogEnabled = (): boolean => inForce.config.auditLogEnabled;
  const keeperParts = { directory: entriesDir, auditLogEnabled, ...made, clock, log };
  const keeper = await DirectoryKeeper.start(keeperParts);
  parts.defer(() => keeper.stop());
  return keeper;
}

/** Says once that what is stored is lost or takes no change, and once that all is well again. */
function lookAfter(kept: KeptFiles, tools: ServerTools): PeriodicTask {
  const log = subsystem(tools, "datastore");
  const message = "The data is lost to this server: nothing can be stored";
  const teller = new StorageTeller(kept, log, { message, next: RESTORE });
  const look = async (): Promise<void> => teller.look();
  return periodically("look after the data", LOOK_INTERVAL_MS, look, { clock: tools.clock, log });
}

interface PluginTools extends ServerTools {
  readonly reconfigurer: Reconfigurer;
}

async function openTelemetry(
  config: ServerConfig,
  tools: ServerTools,
  parts: AsyncDisposableStack,
): Promise<Metrics> {
  const telemetry = await startTelemetry(config.telemetry, {
    service: "spire_server",
    policy: tlsPolicy(config.experimental.requirePqKem),
    trustDomain: config.trustDomain.name,
    version: tools.version,
    clock: tools.clock,
    log: subsystem(tools, "telemetry"),
  });
  parts.defer(() => telemetry.close());
  return telemetry.metrics;
}

async function startCa(
  inForce: ConfigInForce<ServerConfig>,
  tools: PluginTools,
  store: DataStore,
  metrics: Metrics,
  parts: AsyncDisposableStack,
): Promise<CaManager> {
  const { trustDomain, caKeyType, jwtKeyType, disableJwtSvids, plugins } = inForce.config;
  const pluginParts = { trustDomain, ...tools };
  const above = await openUpstream(plugins.upstreamAuthority, pluginParts);
  const ca = await CaManager.open({
    trustDomain,
    profile: () => inForce.config,
    caKeyType,
    jwtKeyType,
    jwtSvidsDisabled: disableJwtSvids,
    witSvids: witSvidsOf(inForce.config),
    keyManager: await openPlugin(SERVER_PLUGINS.keyManager, plugins.keyManager, pluginParts),
    ...above,
    bundles: store.bundles,
    journals: store.caJournals,
    clock: tools.clock,
    random: tools.random,
    metrics,
    log: subsystem(tools, "ca_manager"),
  });
  ca.start();
  parts.defer(() => ca.stop());
  // Before the CA Manager stops: it waits for calls under way.
  parts.defer(() => above.upstream?.close?.());
  return ca;
}

async function openUpstream(
  config: ServerPlugins["upstreamAuthority"],
  parts: PluginTools & UpstreamParts,
): Promise<Upstream> {
  return config === undefined ? {} : openPlugin(SERVER_PLUGINS.upstreamAuthority, config, parts);
}

function witSvidsOf({ experimental, caKeyType }: ServerConfig): WitSvidProfile | undefined {
  const { witSvids } = experimental;
  if (witSvids === undefined) return undefined;
  return { keyType: witSvids.keyType ?? caKeyType, issuer: witSvids.issuer };
}

type ServiceParts = Pick<
  ApiParts,
  | "kept"
  | "metrics"
  | "store"
  | "ca"
  | "authorized"
  | "watchers"
  | "refresher"
  | "reconciler"
  | "serverChain"
>;

function issueServerSvid(
  { trustDomain, caKeyType }: ServerConfig,
  tools: ServerTools,
  { ca, store, metrics }: ServiceParts,
): Promise<ServerSvid> {
  return ServerSvid.issue({
    ca,
    store,
    trustDomain,
    keyType: caKeyType,
    clock: tools.clock,
    metrics,
    log: subsystem(tools, "svid_rotator"),
  });
}

async function createServices(
  inForce: ConfigInForce<ServerConfig>,
  tools: PluginTools,
  made: ServiceParts,
): Promise<readonly BoundService[]> {
  const { trustDomain, disableJwtSvids, experimental, plugins } = inForce.config;
  const attestors = await openNodeAttestors(plugins.nodeAttestors, {
    trustDomain,
    joinTokens: made.store.joinTokens,
    bundles: made.store.bundles,
    ...tools,
  });
  return createApi({
    ...made,
    trustDomain,
    settings: () => inForce.config,
    jwtSvidsDisabled: disableJwtSvids,
    witSvidsEnabled: experimental.witSvids !== undefined,
    hasUpstreamAuthority: plugins.upstreamAuthority !== undefined,
    agentIdAsSelector: experimental.agentSpiffeIdAsSelector,
    attestors,
    joinAddress: joinAddress(inForce.config, hostname()),
    lostTime: readLostTime(inForce.config.dataDir, tools.log),
    clock: tools.clock,
    random: tools.random,
    log: subsystem(tools, "api"),
  });
}

/** By their attestation type. */
async function openNodeAttestors(
  configured: ServerPlugins["nodeAttestors"],
  parts: PluginTools & NodeAttestorServerParts,
): Promise<ReadonlyMap<string, NodeAttestorServer>> {
  const isTaken = configured.some(({ name }) => name === ALWAYS_TAKEN.name);
  const configs = isTaken ? configured : [ALWAYS_TAKEN, ...configured];
  const opened = configs.map((config) => openPlugin(SERVER_PLUGINS.nodeAttestors, config, parts));
  const attestors: readonly NodeAttestorServer[] = await Promise.all(opened);
  return new Map(attestors.map((attestor) => [attestor.type, attestor]));
}

function startPruningTasks(
  config: ServerConfig,
  tools: ServerTools,
  store: DataStore,
  parts: AsyncDisposableStack,
): void {
  const tasks = startPruning({
    store,
    trustDomain: config.trustDomain,
    nodes: config.nodePruning,
    clock: tools.clock,
    random: tools.random,
    log: subsystem(tools, "registration_manager"),
  });
  for (const task of tasks) parts.defer(() => task.stop());
}
