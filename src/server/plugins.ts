/**
 * What is built in: kind → configuration name → constructor. The one list; a plugin that is not here does not exist.
 */
import type { Worker } from "node:worker_threads";
import type { JoinTokenClaim, NodeAttestorServer } from "#attestors/attestor.ts";
import { createJoinTokenServer } from "#attestors/join_token/server.ts";
import {
  readX509popServerConfig,
  type X509popServerConfig,
} from "#attestors/x509pop/server-config.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { Block, Problems } from "#config/block.ts";
import { type Reconfigurer, readNothing } from "#config/reconfigurer.ts";
import { DiskKeyManager } from "#keymanager/disk/disk.ts";
import type { KeyManager } from "#keymanager/key-manager.ts";
import { MemoryKeyManager } from "#keymanager/memory/memory.ts";
import type { Log } from "#log/log.ts";
import type { ServerConfig } from "#server/config/config.ts";
import type { Bundles, DataStore, JoinTokens } from "#server/datastore/datastore.ts";
import { openSqliteDataStore } from "#server/datastore/sqlite/open.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { type OfflineUpstreamConfig, readOfflineUpstreamConfig } from "#upstream/offline/config.ts";
import { readSpireUpstreamConfig } from "#upstream/spire/config.ts";
import type { OfflineAuthority, UpstreamAuthority } from "#upstream/upstream-authority.ts";
import { Certificate } from "#x509/certificate.ts";
import { readDiskUpstreamConfig, readKeyManagerDiskConfig } from "./config-plugins.ts";

type Configured = ServerConfig["plugins"];
type NodeAttestorConfig = Configured["nodeAttestors"][number];
type UpstreamAuthorityConfig = NonNullable<Configured["upstreamAuthority"]>;

/** What a constructor may use. */
interface PluginParts {
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly random: Random;
  readonly reconfigurer: Reconfigurer;
  readonly log: Log;
}

/** What the constructor of a node attestor may use besides. */
interface NodeAttestorParts extends PluginParts {
  readonly joinTokens: JoinTokens;
  readonly bundles: Pick<Bundles, "find">;
}

// A plugin that a server can do without is loaded by the servers that have it: others start sooner and need less memory.

/** A constructor for every name a configuration can hold. */
type Constructors<Config extends { readonly name: string }, Parts, Made> = {
  readonly [Name in Config["name"]]: (
    config: Extract<Config, { readonly name: Name }>,
    parts: Parts,
  ) => Promise<Made>;
};

const KEY_MANAGERS: Constructors<Configured["keyManager"], PluginParts, KeyManager> = {
  disk: async (config, { log, reconfigurer }) => {
    const keys = await DiskKeyManager.open(config.keysPath, log);
    reconfigurer.add("KeyManager", config, readKeyManagerDiskConfig, ({ keysPath }) =>
      keys.moveTo(keysPath),
    );
    return keys;
  },
  memory: async (config, { reconfigurer }) => {
    reconfigurer.add("KeyManager", config, readNothing);
    return new MemoryKeyManager();
  },
};

const NODE_ATTESTORS: Constructors<NodeAttestorConfig, NodeAttestorParts, NodeAttestorServer> = {
  join_token: async (config, parts) => {
    parts.reconfigurer.add("NodeAttestor", config, readNothing);
    return createJoinTokenServer(joinTokenParts(parts));
  },
  x509pop: async (config, parts) => {
    let current = await openX509pop(config, parts);
    parts.reconfigurer.add("NodeAttestor", config, readX509popServerConfig, async (next) => {
      current = await openX509pop(next, parts);
    });
    const { type } = current;
    return { type, attest: (...attestation) => current.attest(...attestation) };
  },
};

async function openX509pop(
  config: X509popServerConfig,
  parts: NodeAttestorParts,
): Promise<NodeAttestorServer> {
  const { createX509popServer } = await import("#attestors/x509pop/server.ts");
  const roots = await nodeAuthorities(config, parts);
  return createX509popServer({ ...parts, config, roots });
}

/** What signs the CA: an authority that answers at once, or one that signs by hand. */
interface Upstream {
  readonly upstream?: UpstreamAuthority;
  readonly offline?: OfflineAuthority;
}

const UPSTREAM_AUTHORITIES: Constructors<UpstreamAuthorityConfig, PluginParts, Upstream> = {
  disk: async (config, parts) => {
    const { openDiskUpstreamAuthority } = await import("#upstream/disk/disk.ts");
    const authority = await openDiskUpstreamAuthority(config, parts);
    const configure = authority.configure.bind(authority);
    parts.reconfigurer.add("UpstreamAuthority", config, readDiskUpstreamConfig, configure);
    return { upstream: authority };
  },
  spire: async (config, parts) => {
    const { openSpireUpstreamAuthority } = await import("#upstream/spire/spire.ts");
    const authority = openSpireUpstreamAuthority(config, parts);
    const configure = authority.configure.bind(authority);
    parts.reconfigurer.add("UpstreamAuthority", config, readSpireUpstreamConfig, configure);
    return { upstream: authority };
  },
  offline: async (config, parts) => {
    const { openOfflineUpstreamAuthority } = await import("#upstream/offline/offline.ts");
    const authority = await openOfflineUpstreamAuthority(config);
    const configure = authority.configure.bind(authority);
    const { dataDir } = config;
    const read = (data: Block, problems: Problems): OfflineUpstreamConfig =>
      readOfflineUpstreamConfig(data, dataDir, problems);
    parts.reconfigurer.add("UpstreamAuthority", config, read, configure);
    return { offline: authority };
  },
};

/** @throws Error naming the file when it cannot be opened */
export function openDataStore(
  { connectionString, dataFile }: Configured["dataStore"],
  log: Log,
  thread?: Worker,
): Promise<DataStore> {
  if (dataFile !== undefined) {
    log.warn("DataStore is not reconfigurable even with a dynamic data source", {
      path: dataFile.path,
    });
  }
  return openSqliteDataStore({ path: sqlitePath(connectionString), log, thread });
}

export function openKeyManager(
  config: Configured["keyManager"],
  parts: PluginParts,
): Promise<KeyManager> {
  return construct(KEY_MANAGERS, config, parts);
}

export async function openUpstreamAuthority(
  config: UpstreamAuthorityConfig | undefined,
  parts: PluginParts,
): Promise<Upstream> {
  return config === undefined ? {} : await construct(UPSTREAM_AUTHORITIES, config, parts);
}

/**
 * The node attestors by their attestation type. Join tokens are taken whether configured or not, as in the reference: only
 * an operator can make one.
 */
export async function openNodeAttestors(
  configs: readonly NodeAttestorConfig[],
  parts: NodeAttestorParts,
): Promise<ReadonlyMap<string, NodeAttestorServer>> {
  const joinToken = createJoinTokenServer(joinTokenParts(parts));
  const configured = await Promise.all(
    configs.map((config) => construct(NODE_ATTESTORS, config, parts)),
  );
  return new Map([joinToken, ...configured].map((attestor) => [attestor.type, attestor]));
}

function joinTokenParts({ joinTokens, trustDomain, clock }: NodeAttestorParts) {
  return { findToken: (claim: JoinTokenClaim) => joinTokens.find(claim), trustDomain, clock };
}

/** Who may sign the certificates of nodes: the authorities in the operator's files, or this trust domain itself. */
async function nodeAuthorities(
  { mode, caBundlePaths }: X509popServerConfig,
  { bundles, trustDomain, log }: NodeAttestorParts,
): Promise<() => Promise<readonly Certificate[]>> {
  if (mode === "external_pki") {
    const { CaBundle } = await import("#attestors/x509pop/ca-bundle.ts");
    const files = await CaBundle.open(caBundlePaths, log);
    return () => files.roots();
  }
  return async () => {
    const bundle = await bundles.find(trustDomain.name);
    return bundle?.x509Authorities.map(({ certificate }) => Certificate.parse(certificate)) ?? [];
  };
}

function construct<Config extends { readonly name: string }, Parts, Made>(
  constructors: Constructors<Config, Parts, Made>,
  config: Config,
  parts: Parts,
): Promise<Made> {
  // The compiler cannot see that the constructor found by a configuration's name takes that very configuration.
  const make = constructors[config.name as Config["name"]] as (
    config: Config,
    parts: Parts,
  ) => Promise<Made>;
  return make(config, parts);
}

/** The file a connection string of the reference names: `PATH`, `file:PATH`, both perhaps with `?options`. */
export function sqlitePath(connectionString: string): string {
  const [path = ""] = connectionString.replace(/^file:/, "").split("?");
  return path;
}
