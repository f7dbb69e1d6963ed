/** The plugins block of server.conf, as values a constructor takes. */
import { join } from "node:path";
import {
  readX509popServerConfig,
  type X509popServerConfig,
} from "#attestors/x509pop/server-config.ts";
import type { Block, Problems } from "#config/block.ts";
import { exactlyOne, type Plugin, pluginsOf } from "#config/plugins.ts";

export interface ServerPlugins {
  readonly dataStore: { readonly databaseType: "sqlite3"; readonly connectionString: string };
  readonly keyManager:
    | { readonly name: "disk"; readonly keysPath: string }
    | { readonly name: "memory" };
  readonly nodeAttestors: readonly NodeAttestorConfig[];
  readonly upstreamAuthority?: UpstreamDiskConfig;
}

type NodeAttestorConfig = { readonly name: "join_token" } | X509popServerConfig;

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
const OTHER_KINDS = ["Notifier", "BundlePublisher", "CredentialComposer"];

export function readServerPlugins(
  plugins: Block,
  dataDir: string,
  problems: Problems,
): ServerPlugins {
  const zero = zeroServerPlugins(dataDir);
  const stores = pluginsOf(plugins, "DataStore", ["sql"], problems);
  const managers = pluginsOf(plugins, "KeyManager", ["disk", "memory"], problems);
  const attestors = pluginsOf(plugins, "NodeAttestor", ["join_token", "x509pop"], problems);
  const upstreams = pluginsOf(plugins, "UpstreamAuthority", ["disk"], problems);
  for (const kind of OTHER_KINDS) pluginsOf(plugins, kind, [], problems);
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
    ...(upstream === undefined ? {} : { upstreamAuthority: readUpstream(upstream, problems) }),
  };
  for (const { data, block } of [...stores, ...managers, ...attestors, ...upstreams]) {
    data.finish();
    block.finish();
  }
  return read;
}

function readNodeAttestor({ name, data }: Plugin, problems: Problems): NodeAttestorConfig {
  return name === "x509pop" ? readX509popServerConfig(data, problems) : { name: "join_token" };
}

function readStore(
  { data }: Plugin,
  dataDir: string,
  problems: Problems,
): ServerPlugins["dataStore"] {
  const type = data.string("database_type") ?? "";
  if (type === "") problems.add('DataStore "sql": database_type must be set');
  else if (type !== "sqlite3") {
    problems.add(
      `DataStore "sql": unsupported database_type: ${type}; use sqlite3`,
      data.lineOf("database_type"),
    );
  }
  const connection = data.string("connection_string") ?? "";
  // Known keys that make no difference to a database in this process.
  for (const key of [
    "max_open_conns",
    "max_idle_conns",
    "conn_max_lifetime",
    "disable_migration",
    "ro_connection_string",
    "root_ca_path",
    "client_cert_path",
    "client_key_path",
  ]) {
    data.has(key);
  }
  if (connection === "") problems.add('DataStore "sql": connection_string must be set');
  return {
    databaseType: "sqlite3",
    connectionString: sqlitePath(connection) || join(dataDir, "datastore.sqlite3"),
  };
}

/** The reference also takes SQLite's URI form: `file:path?options`. */
function sqlitePath(connection: string): string {
  return connection.replace(/^file:/, "").replace(/\?.*$/, "");
}

function readKeyManager({ name, data }: Plugin, problems: Problems): ServerPlugins["keyManager"] {
  if (name === "memory") return { name: "memory" };
  const keysPath = data.string("keys_path") ?? "";
  if (keysPath === "") problems.add('KeyManager "disk": keys_path is required');
  return { name: "disk", keysPath };
}

function readUpstream({ data }: Plugin, problems: Problems): UpstreamDiskConfig {
  const path = (key: string): string | undefined => data.string(key) || undefined;
  const cert = path("cert_file_path");
  const key = path("key_file_path");
  const bundle = path("bundle_file_path");
  const pkcs12 = path("pkcs12_file_path");
  const password = path("pkcs12_password_file");
  if (pkcs12 === undefined && (cert === undefined || key === undefined)) {
    problems.add(
      'UpstreamAuthority "disk": cert_file_path and key_file_path, or pkcs12_file_path, must be set',
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
