/** Every configuration key of the reference's, from its source and its documents: where each belongs in a file. */
import type { ReferenceSource } from "./reference-source.ts";

/** From the top of the file; a label, as in `KeyManager "disk" {}`, has its quotation marks. */
export type KeyPath = readonly string[];

export type FileKind = "server" | "agent";

/** As docs/CONFIGURATION.md writes it: `server.federation.federates_with "TRUST-DOMAIN".bundle_endpoint_url`. */
export function shownPath(path: KeyPath): string {
  return path.reduce((shown, part) => `${shown}${part.startsWith('"') ? " " : "."}${part}`);
}

type Places = Readonly<Record<string, KeyPath>>;

const BUNDLE_ENDPOINT = ["server", "federation", "bundle_endpoint"];
const HTTPS_WEB = [...BUNDLE_ENDPOINT, "profile", '"https_web"'];
const FEDERATES_WITH = ["server", "federation", "federates_with", '"TRUST-DOMAIN"'];
const ENDPOINT_PROFILE = [...FEDERATES_WITH, "bundle_endpoint_profile"];
const OPA = ["server", "experimental", "auth_opa_policy_engine"];
const BROKER = ["agent", "experimental", "broker"];
const PROMETHEUS = ["telemetry", "Prometheus"];

const pluginData = (kind: string, name: string): KeyPath => [
  "plugins",
  kind,
  `"${name}"`,
  "plugin_data",
];

const DATABASE_TYPE = [...pluginData("DataStore", "sql"), "database_type"];

const BOTH_STRUCTS: Readonly<Record<string, Places>> = {
  "pkg/common/telemetry/config.go": {
    FileConfig: ["telemetry"],
    PrometheusConfig: PROMETHEUS,
    TLSConfig: [...PROMETHEUS, "tls"],
    StatsdConfig: ["telemetry", "Statsd"],
    DogStatsdConfig: ["telemetry", "DogStatsd"],
    M3Config: ["telemetry", "M3"],
  },
  "pkg/common/health/config.go": { Config: ["health_checks"] },
  "pkg/common/catalog/config.go": { hclPluginConfig: ["plugins", "KIND", '"NAME"'] },
};

/** By Go file and struct: where the keys of its tags belong. */
const STRUCTS: Readonly<Record<FileKind, Readonly<Record<string, Places>>>> = {
  server: {
    ...BOTH_STRUCTS,
    "cmd/spire-server/cli/run/run.go": {
      Config: [],
      serverConfig: ["server"],
      experimentalConfig: ["server", "experimental"],
      caSubjectConfig: ["server", "ca_subject"],
      rateLimitConfig: ["server", "ratelimit"],
      federationConfig: ["server", "federation"],
      bundleEndpointConfig: BUNDLE_ENDPOINT,
      bundleEndpointConfigProfile: [...BUNDLE_ENDPOINT, "profile"],
      bundleEndpointProfileHTTPSWebConfig: HTTPS_WEB,
      bundleEndpointServingCertFile: [...HTTPS_WEB, "serving_cert_file"],
      bundleEndpointACMEConfig: [...HTTPS_WEB, "acme"],
      federatesWithConfig: FEDERATES_WITH,
      bundleEndpointProfileConfig: ENDPOINT_PROFILE,
      httpsSPIFFEProfileConfig: [...ENDPOINT_PROFILE, '"https_spiffe"'],
    },
    "pkg/server/authpolicy/policy.go": {
      OpaEngineConfig: OPA,
      LocalOpaProviderConfig: [...OPA, "local"],
    },
    "pkg/server/datastore/sqlcommon/config.go": {
      Configuration: pluginData("DataStore", "sql"),
      DBTypeConfig: DATABASE_TYPE,
      AWSConfig: [...DATABASE_TYPE, '"aws_mysql"'],
    },
    "pkg/server/plugin/keymanager/disk/disk.go": {
      configuration: pluginData("KeyManager", "disk"),
    },
    "pkg/server/plugin/nodeattestor/x509pop/x509pop.go": {
      Config: pluginData("NodeAttestor", "x509pop"),
    },
    "pkg/server/plugin/upstreamauthority/spire/spire.go": {
      Configuration: pluginData("UpstreamAuthority", "spire"),
      experimentalConfig: [...pluginData("UpstreamAuthority", "spire"), "experimental"],
    },
    "pkg/server/plugin/upstreamauthority/disk/disk.go": {
      Configuration: pluginData("UpstreamAuthority", "disk"),
    },
  },
  agent: {
    ...BOTH_STRUCTS,
    "cmd/spire-agent/cli/run/run.go": {
      Config: [],
      agentConfig: ["agent"],
      sdsConfig: ["agent", "sds"],
      experimentalConfig: ["agent", "experimental"],
      workloadAPIRateLimitConfig: ["agent", "experimental", "ratelimit"],
      brokerHCLConfig: BROKER,
      brokerHCLEntry: [...BROKER, "brokers"],
      brokerAllowedReferenceTypeHCLEntry: [...BROKER, "brokers", "allowed_reference_types"],
    },
    "pkg/agent/plugin/keymanager/disk/disk.go": {
      configuration: pluginData("KeyManager", "disk"),
    },
    "pkg/agent/plugin/nodeattestor/x509pop/x509pop.go": {
      Config: pluginData("NodeAttestor", "x509pop"),
    },
    "pkg/agent/plugin/workloadattestor/unix/unix_posix.go": {
      Configuration: pluginData("WorkloadAttestor", "unix"),
    },
  },
};

const TELEMETRY_TABLES: Places = {
  "Telemetry configuration syntax: Configuration": ["telemetry"],
  "Prometheus: Configuration": PROMETHEUS,
  "Prometheus.tls: Configuration": [...PROMETHEUS, "tls"],
  "DogStatsd: Configuration": ["telemetry", "DogStatsd"],
  "Statsd: Configuration": ["telemetry", "Statsd"],
  "M3: Configuration": ["telemetry", "M3"],
};

/** By document, then by a table's heading and the first cell of its header: where its keys belong. */
const TABLES: Readonly<Record<FileKind, Readonly<Record<string, Places>>>> = {
  server: {
    "doc/telemetry/telemetry_config.md": TELEMETRY_TABLES,
    "doc/spire_server.md": {
      "Server configuration file: Configuration": ["server"],
      "Server configuration file: ca_subject": ["server", "ca_subject"],
      "Server configuration file: experimental": ["server", "experimental"],
      "Server configuration file: ratelimit": ["server", "ratelimit"],
      "Server configuration file: auth_opa_policy_engine": OPA,
      "Server configuration file: auth_opa_policy_engine.local": [...OPA, "local"],
      "Plugin configuration: Configuration": ["plugins", "KIND", '"NAME"'],
      "Configuration options for federation.bundle_endpoint: Configuration": BUNDLE_ENDPOINT,
      'Configuration options for federation.bundle_endpoint.profile "https_web".acme: Configuration':
        [...HTTPS_WEB, "acme"],
      'Configuration options for federation.bundle_endpoint.profile "https_web".serving_cert_file: Configuration':
        [...HTTPS_WEB, "serving_cert_file"],
      'Configuration options for federation.federates_with["<trust domain>"].bundle_endpoint: Configuration':
        FEDERATES_WITH,
    },
    "doc/plugin_server_nodeattestor_x509pop.md": {
      'Server plugin: NodeAttestor "x509pop": Configuration': pluginData("NodeAttestor", "x509pop"),
    },
  },
  agent: {
    "doc/telemetry/telemetry_config.md": TELEMETRY_TABLES,
    "doc/spire_agent.md": {
      "Agent configuration file: Configuration": ["agent"],
      "Agent configuration file: experimental": ["agent", "experimental"],
      "Workload API Rate Limiting: ratelimit": ["agent", "experimental", "ratelimit"],
      "SDS Configuration: Configuration": ["agent", "sds"],
      "Plugin configuration: Configuration": ["plugins", "KIND", '"NAME"'],
    },
  },
};

/** Tables of other things than keys, by the first cell of their header. */
const NOT_KEYS = ["Type", "Command", "Selector", "Value", "mode"];

/**
 * All keys of one of the two files.
 *
 * @throws Error for a struct or table that is not listed here, or listed and not there: nothing is overlooked
 */
export function referenceKeys(source: ReferenceSource, kind: FileKind): readonly KeyPath[] {
  const paths = [
    ...keysOfStructs(source, STRUCTS[kind]),
    ...keysOfTables(source, TABLES[kind]),
    ...pluginsOf(source, kind),
  ];
  const byName = new Map(paths.map((path) => [shownPath(path), path]));
  return [...byName.values()];
}

/** The plugins that have a document of their own. */
function pluginsOf(source: ReferenceSource, kind: FileKind): readonly KeyPath[] {
  return source
    .files("doc")
    .filter((file) => file.startsWith(`plugin_${kind}_`))
    .map((file) => {
      const title = source.text(`doc/${file}`).split("\n", 1)[0] ?? "";
      const [, words = "", name] = /^# (?:\w+ plugin: )?(.*?) ("[\w-]+")/.exec(title) ?? [];
      if (name === undefined) throw new Error(`${file} has another title: ${title}`);
      return ["plugins", words.replace(" ", ""), name];
    });
}

function keysOfStructs(
  source: ReferenceSource,
  files: Readonly<Record<string, Places>>,
): readonly KeyPath[] {
  return Object.entries(files).flatMap(([file, places]) => {
    const structs = source.keysOfStructs(file);
    mustMatch(file, [...structs.keys()], Object.keys(places));
    return [...structs].flatMap(([name, keys]) =>
      keys.map((key) => [...(places[name] ?? []), asLabel(places[name] ?? [], key)]),
    );
  });
}

function keysOfTables(
  source: ReferenceSource,
  documents: Readonly<Record<string, Places>>,
): readonly KeyPath[] {
  return Object.entries(documents).flatMap(([document, places]) => {
    const tables = source
      .tables(document)
      .filter(({ header }) => !NOT_KEYS.includes(header))
      .map(({ heading, header, keys }) => ({ name: `${heading}: ${header}`, keys }));
    mustMatch(
      document,
      tables.map(({ name }) => name),
      Object.keys(places),
    );
    return tables.flatMap(({ name, keys }) =>
      // `profile "<https_web|https_spiffe>"` is a key with what may follow it.
      keys.map((key) => [...(places[name] ?? []), key.replace(/ .*/, "")]),
    );
  });
}

/** What may stand there is a block by its label. */
function asLabel(place: KeyPath, key: string): string {
  return /profile$|^database_type$/.test(place.at(-1) ?? "") ? `"${key}"` : key;
}

function mustMatch(where: string, found: readonly string[], listed: readonly string[]): void {
  const missing = found.filter((name) => !listed.includes(name));
  const gone = listed.filter((name) => !found.includes(name));
  if (missing.length + gone.length > 0) {
    throw new Error(
      `${where}: not listed: ${missing.join("; ")}; listed, but not there: ${gone.join("; ")}`,
    );
  }
}
