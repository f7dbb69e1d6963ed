/** The plugins block of server.conf, as values a constructor takes. */
import { join } from "node:path";
import {
  readX509popServerConfig,
  type X509popServerConfig,
} from "#attestors/x509pop/server-config.ts";
import type { Block, Problems } from "#config/block.ts";
import { exactlyOne, type Plugin, pluginsOf, type Sourced } from "#config/plugins.ts";
import {
  type NeedlessKeys,
  type RefusedKeys,
  refuse,
  takeNeedless,
} from "#config/unsupported-settings.ts";
import { type OfflineUpstreamConfig, readOfflineUpstreamConfig } from "#upstream/offline/config.ts";
import { readSpireUpstreamConfig, type SpireUpstreamConfig } from "#upstream/spire/config.ts";

export interface ServerPlugins {
  readonly dataStore: Sourced & {
    readonly databaseType: "sqlite3";
    readonly connectionString: string;
  };
  readonly keyManager: Sourced & (KeyManagerDiskConfig | { readonly name: "memory" });
  readonly nodeAttestors: readonly (Sourced & NodeAttestorConfig)[];
  readonly upstreamAuthority?: Sourced &
    (UpstreamDiskConfig | SpireUpstreamConfig | OfflineUpstreamConfig);
}

type NodeAttestorConfig = { readonly name: "join_token" } | X509popServerConfig;

export interface KeyManagerDiskConfig {
  readonly name: "disk";
  readonly keysPath: string;
}

export interface UpstreamDiskConfig {
  readonly name: "disk";
  readonly certFilePath?: string;
  readonly keyFilePath?: string;
  readonly bundleFilePath?: string;
  readonly pkcs12FilePath?: string;
  readonly pkcs12PasswordFile?: string;
}

/** What runs when there is no file: SQLite and keys in the data directory, join tokens. */
export function zeroServerPlugins(dataDir: string): ServerPlugins {
  return {
    dataStore: { databaseType: "sqlite3", connectionString: join(dataDir, "datastore.sqlite3") },
    keyManager: { name: "disk", keysPath: join(dataDir, "keys.json") },
    nodeAttestors: [{ name: "join_token" }],
  };
}

/** Plugin kinds of the reference that have no built-in here. */
const PUBLISH =
  "remove it, and publish what the bundle endpoint serves, or what `spire-server bundle show` prints";
const OTHER_KINDS = {
  Notifier: PUBLISH,
  BundlePublisher: PUBLISH,
  CredentialComposer: "remove it; the subject of SVIDs cannot be changed",
};

export function readServerPlugins(
  plugins: Block,
  dataDir: string,
  problems: Problems,
): ServerPlugins {
  const zero = zeroServerPlugins(dataDir);
  const stores = pluginsOf(plugins, "DataStore", ["sql"], problems);
  const managers = pluginsOf(plugins, "KeyManager", ["disk", "memory"], problems);
  const attestors = pluginsOf(plugins, "NodeAttestor", ["join_token", "x509pop"], problems);
  const upstreams = pluginsOf(plugins, "UpstreamAuthority", ["disk", "spire", "offline"], problems);
  for (const [kind, instead] of Object.entries(OTHER_KINDS)) {
    pluginsOf(plugins, kind, instead, problems);
  }
  plugins.finish();
  const store = exactlyOne(stores, "DataStore", problems);
  const manager = exactlyOne(managers, "KeyManager", problems);
  if (upstreams.length > 1)
    problems.add(`expected at most 1 UpstreamAuthority plugin but got ${upstreams.length}`);
  const [upstream] = upstreams;
  const read: ServerPlugins = {
    dataStore: store === undefined ? zero.dataStore : readStore(store, dataDir, problems),
    keyManager: manager === undefined ? zero.keyManager : readKeyManager(manager, problems),
    nodeAttestors: attestors.map((plugin) => readNodeAttestor(plugin, problems)),
    ...(upstream === undefined
      ? {}
      : { upstreamAuthority: readUpstream(upstream, dataDir, problems) }),
  };
  for (const plugin of [store, manager, ...attestors, upstream]) plugin?.finish();
  return read;
}

function readNodeAttestor(
  { name, data, source }: Plugin,
  problems: Problems,
): ServerPlugins["nodeAttestors"][number] {
  return name === "x509pop"
    ? { ...readX509popServerConfig(data, problems), ...source }
    : { name: "join_token", ...source };
}

function readStore(
  { data, source }: Plugin,
  dataDir: string,
  problems: Problems,
): ServerPlugins["dataStore"] {
  readDatabaseType(data, problems);
  const connection = data.string("connection_string") ?? "";
  takeNeedless(data, STORE_NEEDLESS, problems);
  refuse(data, STORE_REFUSED, problems);
  const path = readSqlitePath(connection, data, problems);
  return {
    databaseType: "sqlite3",
    connectionString: path || join(dataDir, "datastore.sqlite3"),
    ...source,
  };
}

function readDatabaseType(data: Block, problems: Problems): void {
  const line = data.lineOf("database_type");
  // Those of the clouds are blocks with a label.
  const [labelled] = data.isObject("database_type") ? data.labelled("database_type") : [];
  const type = labelled?.label ?? data.string("database_type") ?? "";
  if (type === "") problems.add('DataStore "sql": database_type must be set', line);
  else if (type !== "sqlite3") {
    problems.add(`DataStore "sql": unsupported database_type: ${type}; use sqlite3`, line);
  }
}

const IN_PROCESS = "SQLite runs in this process, over connections of its own";
const NOT_SQLITE = "it counts with other databases than SQLite alone";

const STORE_NEEDLESS: NeedlessKeys = {
  max_open_conns: ["number", IN_PROCESS],
  max_idle_conns: ["number", IN_PROCESS],
  conn_max_lifetime: ["duration", IN_PROCESS],
  ro_connection_string: ["string", NOT_SQLITE],
  root_ca_path: ["string", NOT_SQLITE],
  client_cert_path: ["string", NOT_SQLITE],
  client_key_path: ["string", NOT_SQLITE],
};

const STORE_REFUSED: RefusedKeys = {
  log_sql: "remove the key, and watch calls of the store by telemetry { Prometheus }",
  disable_migration:
    "a store of an older version is brought up to date at start, in one transaction, and a copy of it as it was is kept; remove the key",
};

/** The reference also takes SQLite's URI form: `file:path?options`. */
function readSqlitePath(connection: string, data: Block, problems: Problems): string {
  const [path = "", options = ""] = connection.replace(/^file:/, "").split("?", 2);
  const line = data.lineOf("connection_string");
  const isMemory = path === ":memory:" || new URLSearchParams(options).get("mode") === "memory";
  if (isMemory) {
    problems.add(
      'DataStore "sql": a store in memory is not supported; give a file, on a tmpfs if nothing is to stay',
      line,
    );
  } else if (path === "") {
    problems.add('DataStore "sql": connection_string must be set', line);
  } else if (options !== "") {
    problems.note(`the options of connection_string are not needed: ${IN_PROCESS}`, line);
  }
  return path;
}

function readKeyManager(
  { name, data, source }: Plugin,
  problems: Problems,
): ServerPlugins["keyManager"] {
  return name === "memory"
    ? { name, ...source }
    : { ...readKeyManagerDiskConfig(data, problems), ...source };
}

export function readKeyManagerDiskConfig(data: Block, problems: Problems): KeyManagerDiskConfig {
  const keysPath = data.string("keys_path") ?? "";
  if (keysPath === "") problems.add('KeyManager "disk": keys_path is required');
  return { name: "disk", keysPath };
}

function readUpstream(
  { name, data, source }: Plugin,
  dataDir: string,
  problems: Problems,
): ServerPlugins["upstreamAuthority"] & object {
  if (name === "spire") return { ...readSpireUpstreamConfig(data, problems), ...source };
  if (name === "offline")
    return { ...readOfflineUpstreamConfig(data, dataDir, problems), ...source };
  return { ...readDiskUpstreamConfig(data, problems), ...source };
}

export function readDiskUpstreamConfig(data: Block, problems: Problems): UpstreamDiskConfig {
  const path = (key: string): string | undefined => data.path(key) || undefined;
  const cert = path("cert_file_path");
  const key = path("key_file_path");
  const bundle = path("bundle_file_path");
  const pkcs12 = path("pkcs12_file_path");
  const password = path("pkcs12_password_file");
  if (pkcs12 === undefined && (cert === undefined || key === undefined)) {
    problems.add(
      `UpstreamAuthority "disk": 'cert_file_path' and 'key_file_path' must be set and not empty, or 'pkcs12_file_path'`,
    );
  }
  return {
    name: "disk",
    ...(cert === undefined ? {} : { certFilePath: cert }),
    ...(key === undefined ? {} : { keyFilePath: key }),
    ...(bundle === undefined ? {} : { bundleFilePath: bundle }),
    ...(pkcs12 === undefined ? {} : { pkcs12FilePath: pkcs12 }),
    ...(password === undefined ? {} : { pkcs12PasswordFile: password }),
  };
}
