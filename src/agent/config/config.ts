/**
 * agent.conf and the flags of `run`, as one checked value. Flags override the file, the file overrides the defaults.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { OfflineConfig } from "#agent/offline/open-keeper.ts";
import { ABSENT_AGENT_PLUGINS, AGENT_PLUGINS, type AgentPlugins } from "#agent/plugins.ts";
import { Block, Problems } from "#config/block.ts";
import { isCredential } from "#config/credential.ts";
import { AGENT_CONFIG, isThere } from "#config/packaged.ts";
import { readPlugins, zeroPlugins } from "#config/read-plugins.ts";
import {
  flagOrKey,
  type LogConfig,
  pathFlagOrKey,
  readConfigFile,
  readLogConfig,
} from "#config/settings.ts";
import { obeyed } from "#files/obeyed.ts";
import { type HealthChecksConfig, readHealthChecks } from "#health/health-checks.ts";
import type { JoinWord } from "#spiffe/join-word.ts";
import { errorText } from "#spiffe/status-error.ts";
import { readTelemetry, type TelemetryConfig } from "#telemetry/config.ts";
import { parseKeyType } from "#x509/keys.ts";
import type { KeyType } from "#x509/signer.ts";
import { type ApisConfig, apiWarnings, readApis } from "./apis.ts";
import { type BootstrapConfig, bootstrapWarnings, readBootstrap } from "./bootstrap.ts";
import { type ExperimentalConfig, readExperimental, readOtherAgentKeys } from "./experimental.ts";
import {
  hasJoinWord,
  type JoinWordConfig,
  readJoinWord,
  readServer,
  refuseBesideJoinWord,
  refuseJoinWordAsToken,
  type WhichServer,
} from "./join.ts";

/** The flags of `spire-agent run`; absent ones leave the file's value. */
export interface AgentRunFlags {
  readonly config?: string;
  readonly dataDir?: string;
  readonly join?: string;
  readonly joinFile?: string;
  readonly joinToken?: string;
  readonly joinTokenFile?: string;
  readonly logFile?: string;
  readonly logFormat?: string;
  readonly logLevel?: string;
  readonly logSourceLocation?: boolean;
  readonly serverAddress?: string;
  readonly serverPort?: number;
  readonly trustDomain?: string;
  readonly trustBundle?: string;
  readonly trustBundleUrl?: string;
  readonly trustBundleFormat?: string;
  readonly insecureBootstrap?: boolean;
  readonly rebootstrapMode?: string;
  readonly rebootstrapDelay?: string;
  readonly allowUnauthenticatedVerifiers?: boolean;
  readonly disableWorkloadAPI?: boolean;
  readonly disableSDSAPI?: boolean;
  readonly socketPath?: string;
  readonly expandEnv?: boolean;
}

export interface AgentConfig
  extends ApisConfig,
    BootstrapConfig,
    ExperimentalConfig,
    JoinWordConfig,
    WhichServer {
  readonly dataDir: string;
  readonly socketPath: string;
  readonly joinToken?: string;
  /** Where an operator puts the token for the next join. */
  readonly joinTokenFile?: string;
  /** Where the workload cache is kept across restarts. */
  readonly offline: OfflineConfig;
  readonly workloadX509SvidKeyType: KeyType;
  readonly x509SvidCacheMaxSize: number;
  readonly jwtSvidCacheMaxSize: number;
  readonly allowUnauthenticatedVerifiers: boolean;
  readonly allowedForeignJwtClaims: readonly string[];
  /** Beginnings of selectors that may stand in the log. */
  readonly logSelectors: readonly string[];
  /** Whether it is written down who was given what. */
  readonly auditLogEnabled: boolean;
  readonly log: LogConfig;
  readonly availabilityTargetSeconds?: number;
  readonly plugins: AgentPlugins;
  readonly telemetry: TelemetryConfig;
  readonly healthChecks?: HealthChecksConfig;
  /** To be logged at start. */
  readonly warnings: readonly string[];
  /** Keys that are not needed, and why; to be logged at start, too. */
  readonly notes: readonly string[];
}

const DEFAULT_FILE = "conf/agent/agent.conf";
const DEFAULT_DATA_DIR = "/var/lib/spire/agent";
export const DEFAULT_SOCKET: string = "/tmp/spire-agent/public/api.sock";
const DEFAULT_SERVER_PORT = 8081;
const MIN_AVAILABILITY_TARGET_SECONDS = 24 * 3600;

/**
 * Reads the configuration. Without a file, a join word or a server address on the command line is enough to run on disk keys and a join
 * token.
 *
 * @param isFromOutside whether it is only looked at, perhaps by a process that has not the credentials of the daemon's unit
 * @throws ConfigError with every problem found, a line each
 */
export async function loadAgentConfig(
  flags: AgentRunFlags,
  isFromOutside = false,
): Promise<AgentConfig> {
  const isServerGiven = flags.serverAddress !== undefined || hasJoinWord(flags);
  const path = configurationPath(flags, isFromOutside && !isServerGiven);
  if (path === undefined && isServerGiven) {
    const dataDir = flags.dataDir ?? process.env["STATE_DIRECTORY"] ?? DEFAULT_DATA_DIR;
    const problems = new Problems("command line");
    const empty = new Block([], "the agent block", problems);
    return finish(empty, { ...flags, dataDir }, problems, undefined, () =>
      zeroPlugins(AGENT_PLUGINS, { dataDir }),
    );
  }
  const file = path ?? DEFAULT_FILE;
  const problems = new Problems(file, undefined, isFromOutside);
  const root = new Block(
    [readConfigFile(file, flags.expandEnv, AGENT_CONFIG)],
    "the file",
    problems,
  );
  const agent = root.block("agent");
  if (agent === undefined) problems.add("agent section must be configured");
  const plugins = root.block("plugins");
  if (plugins === undefined) problems.add("plugins section must be configured");
  const observed = readObserved(root, problems);
  root.finish();
  const none = new Block([], "the file", problems);
  return finish(agent ?? none, { ...flags, config: file }, problems, observed, (dataDir) =>
    readPlugins(AGENT_PLUGINS, ABSENT_AGENT_PLUGINS, plugins ?? none, { dataDir }, problems),
  );
}

/**
 * The configuration file that counts; undefined where there is none. The packages' file never counts for `run`: whoever starts an agent by
 * hand would start the packages' one as another user, who leaves files that it cannot use.
 */
function configurationPath(
  { config, dataDir }: AgentRunFlags,
  mayBePackaged: boolean,
): string | undefined {
  if (config !== undefined) return config;
  if (isThere(DEFAULT_FILE)) return DEFAULT_FILE;
  return mayBePackaged && dataDir === undefined && isThere(AGENT_CONFIG) ? AGENT_CONFIG : undefined;
}

type Observed = Pick<AgentConfig, "telemetry" | "healthChecks">;

/** The blocks beside the agent's own: how others see that it works. */
function readObserved(root: Block, problems: Problems): Observed {
  const telemetry = readTelemetry(root.block("telemetry"), problems);
  const healthChecks = readHealthChecks(root.block("health_checks"), problems);
  return { telemetry, ...(healthChecks === undefined ? {} : { healthChecks }) };
}

function finish(
  agent: Block,
  flags: AgentRunFlags,
  problems: Problems,
  observed: Observed | undefined,
  pluginsFor: (dataDir: string) => AgentPlugins,
): AgentConfig {
  const text = (flag: string | undefined, key: string): string => flagOrKey(agent, flag, key);
  const dataDir = text(flags.dataDir, "data_dir") || ".";
  const isZero = observed === undefined;
  const joining = readJoinWord(agent, flags, problems);
  const { joinWord } = joining;
  const port = isZero ? DEFAULT_SERVER_PORT : undefined;
  const server = readServer(agent, flags, joinWord, port, problems);
  const experimental = agent.block("experimental") ?? agent.none();
  const socketPath = text(flags.socketPath, "socket_path") || DEFAULT_SOCKET;
  const config = {
    ...(observed ?? readObserved(agent.none(), problems)),
    ...joining,
    ...server,
    dataDir,
    socketPath,
    ...readApis(agent, flags, socketPath, server.trustDomain, problems),
    ...readBootstrap(agent, flags, joinWord, problems, isZero),
    ...readJoinToken(agent, flags, joinWord, problems),
    ...readAvailabilityTarget(agent, problems),
    workloadX509SvidKeyType: readWorkloadKeyType(agent),
    x509SvidCacheMaxSize: readCacheSize(agent, "x509_svid_cache_max_size", problems),
    jwtSvidCacheMaxSize: readCacheSize(agent, "jwt_svid_cache_max_size", problems),
    allowUnauthenticatedVerifiers:
      flags.allowUnauthenticatedVerifiers ??
      agent.boolean("allow_unauthenticated_verifiers") ??
      false,
    allowedForeignJwtClaims: agent.strings("allowed_foreign_jwt_claims"),
    logSelectors: agent.strings("log_selectors"),
    auditLogEnabled: agent.boolean("audit_log_enabled") ?? true,
    log: readLogConfig(agent, flags, problems),
    offline: readOffline(experimental),
    ...readExperimental(experimental, problems),
  };
  const warnings = [...bootstrapWarnings(config), ...apiWarnings(config)];
  agent.has("allow_unauthenticated_verifiers");
  readOtherAgentKeys(agent, problems);
  experimental.finish();
  agent.finish();
  const plugins = pluginsFor(dataDir);
  problems.check();
  return { ...config, plugins, warnings, notes: problems.notes };
}

function readJoinToken(
  agent: Block,
  flags: AgentRunFlags,
  word: JoinWord | undefined,
  problems: Problems,
): Pick<AgentConfig, "joinToken" | "joinTokenFile"> {
  for (const key of ["join_token", "join_token_file"]) agent.has(key);
  const token = flagOrKey(agent, flags.joinToken, "join_token");
  const file = pathFlagOrKey(agent, flags.joinTokenFile, "join_token_file");
  if (token !== "" && file !== "") {
    problems.add("only one of join_token or join_token_file can be specified, not both");
  }
  const given = { join_token: token !== "", join_token_file: file !== "" };
  const keys = Object.entries(given).flatMap(([key, isGiven]) => (isGiven ? [key] : []));
  if (word !== undefined) refuseBesideJoinWord(agent, keys, problems);
  try {
    refuseJoinWordAsToken(token);
    if (file === "") return token === "" ? {} : { joinToken: token };
    // A credential that is missing was told of already.
    if (!isCredential(file)) refuseJoinWordAsToken(readTokenFile(file));
  } catch (error) {
    problems.add(errorText(error));
  }
  return { joinTokenFile: file };
}

/** @throws Error with a message for the operator */
function readTokenFile(file: string): string {
  let token: string;
  try {
    token = readFileSync(obeyed(file), "utf8").trim();
  } catch (error) {
    throw new Error(`unable to read join token file ${file}: ${errorText(error)}`);
  }
  if (token === "") throw new Error(`join token file is empty: ${file}`);
  return token;
}

function readOffline(experimental: Block): OfflineConfig {
  const directory = experimental.string("offline_cache_directory") ?? "";
  return {
    disabled: experimental.boolean("disable_offline_cache") ?? false,
    ...(directory === "" ? {} : { directory }),
  };
}

function readWorkloadKeyType(agent: Block): KeyType {
  const text = agent.string("workload_x509_svid_key_type") || "ec-p256";
  return (
    agent.convert(
      "workload_x509_svid_key_type",
      "error parsing workload_x509_svid_key_type",
      () => {
        const type = parseKeyType(text);
        if (type !== "rsa-4096") return type;
        throw new Error(
          `key type "${text}" is unknown; must be one of [rsa-2048, ec-p256, ec-p384]`,
        );
      },
    ) ?? "ec-p256"
  );
}

function readAvailabilityTarget(
  agent: Block,
  problems: Problems,
): { readonly availabilityTargetSeconds?: number } {
  const key = "availability_target";
  const seconds = agent.duration(key, `unable to parse ${key}`);
  if (seconds === undefined) return {};
  if (seconds < MIN_AVAILABILITY_TARGET_SECONDS) {
    problems.add(`${key} must be at least 24h0m0s`, agent.lineOf(key));
  }
  return { availabilityTargetSeconds: seconds };
}

function readCacheSize(agent: Block, key: string, problems: Problems): number {
  const size = agent.number(key) ?? 1000;
  if (size < 0) problems.add(`${key} should not be negative`, agent.lineOf(key));
  return size === 0 ? 1000 : size;
}

/** Where the agent keeps its SVID and bundle. */
export function storedStatePath(dataDir: string): string {
  return join(dataDir, "agent-data.json");
}
