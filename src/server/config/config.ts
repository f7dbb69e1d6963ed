/**
 * server.conf and the flags of `run`, as one checked value. Flags override the file, the file overrides the defaults. Whoever holds a
 * ServerConfig need not check anything again.
 */
import { Block, Problems } from "#config/block.ts";
import { isThere, SERVER_CONFIG } from "#config/packaged.ts";
import { readPlugins, zeroPlugins } from "#config/read-plugins.ts";
import {
  flagOrKey,
  type LogConfig,
  readConfigFile,
  readLogConfig,
  readTrustDomain,
} from "#config/settings.ts";
import type { TrustedProxies } from "#grpc/proxied-connections.ts";
import { type HealthChecksConfig, readHealthChecks } from "#health/health-checks.ts";
import { ABSENT_SERVER_PLUGINS, SERVER_PLUGINS, type ServerPlugins } from "#server/plugins.ts";
import { type HostPort, isHost, unbracketed } from "#spiffe/host-port.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { problemText } from "#spiffe/spiffe-id-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { readTelemetry, type TelemetryConfig } from "#telemetry/config.ts";
import type { KeyType } from "#x509/signer.ts";
import {
  type ExperimentalConfig,
  experimentalWarnings,
  readExperimental,
  readKeyType,
  readOtherServerKeys,
  readTrustedProxies,
} from "./experimental.ts";
import { type FederationConfig, readFederation } from "./federation.ts";
import { readJoinAddress } from "./join-address.ts";
import { type NodePruning, readNodePruning } from "./pruning.ts";
import { ttlWarnings } from "./ttl-warnings.ts";

/** The flags of `spire-server run`; absent ones leave the file's value. */
export interface ServerRunFlags {
  readonly config?: string;
  readonly bindAddress?: string;
  readonly serverPort?: number;
  readonly dataDir?: string;
  readonly logFile?: string;
  readonly logFormat?: string;
  readonly logLevel?: string;
  readonly logSourceLocation?: boolean;
  readonly trustDomain?: string;
  readonly socketPath?: string;
  readonly entriesDir?: string;
  readonly expandEnv?: boolean;
}

export interface ServerConfig {
  readonly trustDomain: TrustDomain;
  readonly dataDir: string;
  readonly bindAddress: string;
  readonly bindPort: number;
  /** Where agents reach the server, if the operator says so. */
  readonly joinAddress?: HostPort;
  readonly trustedProxies?: TrustedProxies;
  readonly socketPath: string;
  /** A directory of declared entries that the server keeps to. */
  readonly entriesDir?: string;
  readonly adminIds: readonly SpiffeId[];
  /** Durations are in seconds. */
  readonly agentTtlSeconds: number;
  readonly auditLogEnabled: boolean;
  /** Also of calls that only read. */
  readonly auditLogReads: boolean;
  readonly caKeyType: KeyType;
  readonly jwtKeyType: KeyType;
  readonly caSubject: {
    readonly country: readonly string[];
    readonly organization: readonly string[];
    readonly commonName: string;
  };
  readonly caTtlSeconds: number;
  readonly defaultX509SvidTtlSeconds: number;
  readonly defaultJwtSvidTtlSeconds: number;
  readonly disableJwtSvids: boolean;
  readonly jwtIssuer: string;
  readonly log: LogConfig;
  readonly nodePruning?: NodePruning;
  readonly rateLimit: { readonly attestation: boolean; readonly signing: boolean };
  readonly experimental: ExperimentalConfig;
  readonly federation: FederationConfig;
  readonly plugins: ServerPlugins;
  readonly telemetry: TelemetryConfig;
  readonly healthChecks?: HealthChecksConfig;
  /** To be logged at start. */
  readonly warnings: readonly string[];
  /** Keys that are not needed, and why; to be logged at start, too. */
  readonly notes: readonly string[];
}

const DEFAULT_FILE = "conf/server/server.conf";
const DEFAULT_DATA_DIR = "/var/lib/spire/server";
export const DEFAULT_SOCKET: string = "/tmp/spire-server/private/api.sock";
const HOUR_SECONDS = 3600;

/**
 * Reads the configuration. Without a file (and with a trust domain on the command line) the server runs on SQLite, disk keys and join
 * tokens.
 *
 * @param isFromOutside whether it is only looked at, perhaps by a process that has not the credentials of the daemon's unit
 * @throws ConfigError with every problem found, a line each
 */
export async function loadServerConfig(
  flags: ServerRunFlags,
  isFromOutside = false,
): Promise<ServerConfig> {
  const path = configurationPath(flags, isFromOutside);
  if (path === undefined && flags.trustDomain !== undefined) {
    const dataDir = zeroDataDir(flags);
    const problems = new Problems("command line");
    const empty = new Block([], "the server block", problems);
    const observed = readObserved(empty, problems);
    return finishServer(empty, { ...flags, dataDir }, problems, observed, () =>
      zeroPlugins(SERVER_PLUGINS, { dataDir }),
    );
  }
  const file = path ?? DEFAULT_FILE;
  const problems = new Problems(file, undefined, isFromOutside);
  const root = new Block(
    [readConfigFile(file, flags.expandEnv, SERVER_CONFIG)],
    "the file",
    problems,
  );
  const server = root.block("server");
  if (server === undefined) problems.add("server section must be configured");
  const plugins = root.block("plugins");
  if (plugins === undefined) problems.add("plugins section must be configured");
  const blocks = plugins ?? new Block([], "the plugins block", problems);
  const observed = readObserved(root, problems);
  root.finish();
  return finishServer(
    server ?? new Block([], "the server block", problems),
    flags,
    problems,
    observed,
    (dataDir) => readPlugins(SERVER_PLUGINS, ABSENT_SERVER_PLUGINS, blocks, { dataDir }, problems),
  );
}

/**
 * The configuration file that counts; undefined where there is none.
 *
 * @param isFromOutside whether the packages' file counts when nothing says which server is meant. Not for `run`: whoever starts a
 *   server by hand would start the packages' one as another user, who leaves files that it cannot use
 */
export function configurationPath(
  { config, dataDir, trustDomain }: Pick<ServerRunFlags, "config" | "dataDir" | "trustDomain">,
  isFromOutside: boolean,
): string | undefined {
  if (config !== undefined) return config;
  if (isThere(DEFAULT_FILE)) return DEFAULT_FILE;
  const isUnnamed = dataDir === undefined && trustDomain === undefined;
  return isFromOutside && isUnnamed && isThere(SERVER_CONFIG) ? SERVER_CONFIG : undefined;
}

/** The data directory of a server without a configuration file. */
export function zeroDataDir({ dataDir }: Pick<ServerRunFlags, "dataDir">): string {
  return dataDir ?? process.env["STATE_DIRECTORY"] ?? DEFAULT_DATA_DIR;
}

type Observed = Pick<ServerConfig, "telemetry" | "healthChecks">;

/** The blocks beside the server's own: how others see that it works. */
function readObserved(root: Block, problems: Problems): Observed {
  const telemetry = readTelemetry(root.block("telemetry"), problems);
  const healthChecks = readHealthChecks(root.block("health_checks"), problems);
  return { telemetry, ...(healthChecks === undefined ? {} : { healthChecks }) };
}

function finishServer(
  server: Block,
  flags: ServerRunFlags,
  problems: Problems,
  observed: Observed,
  pluginsFor: (dataDir: string) => ServerPlugins,
): ServerConfig {
  const trustDomain = readTrustDomain(server, flags.trustDomain, problems);
  const dataDir = flagOrKey(server, flags.dataDir, "data_dir");
  if (dataDir === "") problems.add("data_dir must be configured");
  const caTtlSeconds =
    server.duration("ca_ttl", "could not parse default CA ttl") ?? 24 * HOUR_SECONDS;
  const x509Ttl =
    server.duration("default_x509_svid_ttl", "could not parse default X509 SVID ttl") ??
    HOUR_SECONDS;
  const jwtTtl =
    server.duration("default_jwt_svid_ttl", "could not parse default JWT SVID ttl") ?? 300;
  const agentTtl = server.duration("agent_ttl", "could not parse agent ttl") ?? x509Ttl;
  const caKeyType = readKeyType(server, "ca_key_type") ?? "ec-p256";
  const { warnings: federationWarnings, ...federation } = readFederation(
    server,
    trustDomain,
    problems,
  );
  const nodePruning = readNodePruning(server, problems);
  const trustedProxies = readTrustedProxies(server, problems);
  const experimental = readExperimental(server.block("experimental"), problems);
  const bindPort = readPort(server, flags.serverPort, problems);
  const entriesDir = flagOrKey(server, flags.entriesDir, "entries_dir");
  const config: Omit<ServerConfig, "plugins" | "notes"> = {
    ...observed,
    trustDomain,
    dataDir,
    bindAddress: readBindAddress(server, flags.bindAddress, problems),
    bindPort,
    ...readJoinAddress(server, bindPort, problems),
    socketPath: flagOrKey(server, flags.socketPath, "socket_path") || DEFAULT_SOCKET,
    ...(entriesDir === "" ? {} : { entriesDir }),
    adminIds: readAdminIds(server, problems),
    agentTtlSeconds: agentTtl,
    ...readAudit(server),
    caKeyType,
    jwtKeyType: readKeyType(server, "jwt_key_type") ?? caKeyType,
    caSubject: readCaSubject(server, problems),
    caTtlSeconds,
    defaultX509SvidTtlSeconds: x509Ttl,
    defaultJwtSvidTtlSeconds: jwtTtl,
    disableJwtSvids: server.boolean("disable_jwt_svids") ?? false,
    jwtIssuer: server.string("jwt_issuer") ?? "",
    log: readLogConfig(server, flags, problems),
    ...(nodePruning === undefined ? {} : { nodePruning }),
    ...(trustedProxies === undefined ? {} : { trustedProxies }),
    rateLimit: readRateLimit(server),
    experimental,
    federation,
    warnings: [...federationWarnings, ...experimentalWarnings(experimental)],
  };
  readOtherServerKeys(server, problems);
  server.finish();
  const plugins = pluginsFor(dataDir);
  problems.check();
  const warnings = [
    ...ttlWarnings(caTtlSeconds, lifetimesWithinCaTtl(config, plugins)),
    ...config.warnings,
  ];
  return { ...config, plugins, warnings, notes: problems.notes };
}

function readAudit(server: Block): Pick<ServerConfig, "auditLogEnabled" | "auditLogReads"> {
  return {
    auditLogEnabled: server.boolean("audit_log_enabled") ?? false,
    auditLogReads: server.boolean("audit_log_reads") ?? false,
  };
}

/** By their keys. How long a CA lives that is signed by hand, the signer decides; the server speaks of that at its import. */
function lifetimesWithinCaTtl(
  config: Pick<
    ServerConfig,
    "defaultX509SvidTtlSeconds" | "defaultJwtSvidTtlSeconds" | "agentTtlSeconds"
  >,
  { upstreamAuthority }: ServerPlugins,
): Readonly<Record<string, number>> {
  const jwt = { default_jwt_svid_ttl: config.defaultJwtSvidTtlSeconds };
  if (upstreamAuthority?.name === "offline") return jwt;
  return {
    default_x509_svid_ttl: config.defaultX509SvidTtlSeconds,
    ...jwt,
    agent_ttl: config.agentTtlSeconds,
  };
}

/** An IPv6 address may have its brackets. */
function readBindAddress(server: Block, flag: string | undefined, problems: Problems): string {
  const key = "bind_address";
  const address = unbracketed(flagOrKey(server, flag, key)) || "0.0.0.0";
  if (!isHost(address)) {
    problems.add(
      `${key} ${JSON.stringify(address)} is no address to listen on; the port goes into bind_port`,
      flag === undefined ? server.lineOf(key) : undefined,
    );
  }
  return address;
}

function readPort(server: Block, flag: number | undefined, problems: Problems): number {
  const port = flag ?? server.number("bind_port") ?? 8081;
  server.has("bind_port");
  if (port < 0 || port > 65535)
    problems.add(`bind_port ${port} is not a port number`, server.lineOf("bind_port"));
  return port;
}

function readAdminIds(server: Block, problems: Problems): readonly SpiffeId[] {
  return server.strings("admin_ids").flatMap((text) => {
    try {
      return [SpiffeId.parse(text)];
    } catch (error) {
      problems.add(
        `could not parse admin ID ${JSON.stringify(text)}: ${problemText(error)}`,
        server.lineOf("admin_ids"),
      );
      return [];
    }
  });
}

function readCaSubject(server: Block, problems: Problems): ServerConfig["caSubject"] {
  const block = server.block("ca_subject");
  const subject = {
    country: block?.strings("country") ?? [],
    organization: block?.strings("organization") ?? [],
    commonName: block?.string("common_name") ?? "",
  };
  block?.finish();
  const empty =
    subject.country.length + subject.organization.length + subject.commonName.length === 0;
  if (empty && block !== undefined) {
    problems.note("ca_subject is empty, so the default is used", server.lineOf("ca_subject"));
  }
  return empty ? { country: ["US"], organization: ["SPIFFE"], commonName: "" } : subject;
}

function readRateLimit(server: Block): ServerConfig["rateLimit"] {
  const block = server.block("ratelimit");
  const limits = {
    attestation: block?.boolean("attestation") ?? true,
    signing: block?.boolean("signing") ?? true,
  };
  block?.finish();
  return limits;
}
