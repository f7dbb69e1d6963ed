/** The plugins that are built into the server. The one list; a plugin that is not here does not exist. */
import { join } from "node:path";
import { joinTokenServer } from "#attestors/join_token/server-plugin.ts";
import { x509popServer } from "#attestors/x509pop/server-plugin.ts";
import type { AbsentKind, ConfigOf, PluginConfigs, PluginKind } from "#config/plugin.ts";
import { serverDiskKeyManager } from "#keymanager/disk/plugin.ts";
import { memoryKeyManager } from "#keymanager/memory/plugin.ts";
import { zeroSqlConfig } from "#server/datastore/sqlite/config.ts";
import { sqlDataStore } from "#server/datastore/sqlite/plugin.ts";
import { diskUpstreamAuthority } from "#upstream/disk/plugin.ts";
import { offlineUpstreamAuthority } from "#upstream/offline/plugin.ts";
import { spireUpstreamAuthority } from "#upstream/spire/plugin.ts";

type DataStores = [typeof sqlDataStore];
type KeyManagers = [typeof serverDiskKeyManager, typeof memoryKeyManager];
type NodeAttestors = [typeof joinTokenServer, typeof x509popServer];
type UpstreamAuthorities = [
  typeof diskUpstreamAuthority,
  typeof spireUpstreamAuthority,
  typeof offlineUpstreamAuthority,
];

type ServerPluginTable = {
  readonly dataStore: PluginKind<"exactly 1", DataStores>;
  readonly keyManager: PluginKind<"exactly 1", KeyManagers>;
  readonly nodeAttestors: PluginKind<"any number", NodeAttestors>;
  readonly upstreamAuthority: PluginKind<"at most 1", UpstreamAuthorities>;
};

/** Join tokens are taken whether configured or not, as in the reference: only an operator can make one. */
export const ALWAYS_TAKEN: ConfigOf<ServerPluginTable["nodeAttestors"]> = { name: "join_token" };

export const SERVER_PLUGINS: ServerPluginTable = {
  dataStore: {
    kind: "DataStore",
    allowed: "exactly 1",
    builtIn: [sqlDataStore],
    zero: (place) => [zeroSqlConfig(place)],
  },
  keyManager: {
    kind: "KeyManager",
    allowed: "exactly 1",
    builtIn: [serverDiskKeyManager, memoryKeyManager],
    zero: ({ dataDir }) => [{ name: "disk", keysPath: join(dataDir, "keys.json") }],
  },
  nodeAttestors: {
    kind: "NodeAttestor",
    allowed: "any number",
    builtIn: [joinTokenServer, x509popServer],
    zero: () => [{ name: "join_token" }],
  },
  upstreamAuthority: {
    kind: "UpstreamAuthority",
    allowed: "at most 1",
    builtIn: [diskUpstreamAuthority, spireUpstreamAuthority, offlineUpstreamAuthority],
    zero: () => [],
  },
};

export type ServerPlugins = PluginConfigs<ServerPluginTable>;

const PUBLISH =
  "remove it, and publish what the bundle endpoint serves, or what `spire-server bundle show` prints";

export const ABSENT_SERVER_PLUGINS: readonly AbsentKind[] = [
  { kind: "Notifier", instead: PUBLISH },
  { kind: "BundlePublisher", instead: PUBLISH },
  {
    kind: "CredentialComposer",
    instead: "remove it; the subject of SVIDs cannot be changed",
  },
];
