/** The experimental block of agent.conf, and the keys of the agent block that find nothing to do here. */
import { resolve } from "node:path";
import type { CallRates } from "#agent/attestation/call-rates.ts";
import type { Block, Problems } from "#config/block.ts";
import {
  type NeedlessKeys,
  type RefusedKeys,
  readFeatureFlags,
  readProfiling,
  refuse,
  takeNeedless,
} from "#config/unsupported-settings.ts";
import { type TlsPolicy, tlsPolicy } from "#http/tls-policy.ts";

export interface ExperimentalConfig {
  /** Between two questions to a server that does not tell of changes by itself. */
  readonly syncIntervalSeconds: number;
  /** What the connection to the server must agree on. */
  readonly tlsPolicy: TlsPolicy;
  /** How long the server may take to make a new JWT-SVID while the old one is still good. */
  readonly jwtSvidCacheHitTimeoutSeconds: number;
  /** Absolute: where systemd gets credentials for units; absent without such a socket. */
  readonly credentialsSocketPath?: string;
  /** How often one sort of workload may call. */
  readonly callRates: CallRates;
}

const NEEDLESS: NeedlessKeys = {
  use_sync_authorized_entries: [
    "boolean",
    "the agent asks for what changed, and for all entries where a server cannot tell what changed",
  ],
};

const REFUSED: RefusedKeys = {
  broker:
    "the SPIFFE Broker API is not built in; remove the block, and give a proxy identities by authorized_delegates and admin_socket_path",
};

const WIT_SVID_FLAG = "wit-svid";

const DEFAULT_SYNC_SECONDS = 5;
const JWT_TIMEOUT_SECONDS = { least: 5, default: 30 };

/** Reads what the block has for all kinds of nodes. */
export function readExperimental(block: Block, problems: Problems): ExperimentalConfig {
  takeNeedless(block, NEEDLESS, problems);
  refuse(block, REFUSED, problems);
  noteFeatureFlags(block, problems);
  refuseNamedPipe(block, "named_pipe_name", "socket_path", problems);
  refuseNamedPipe(block, "admin_named_pipe_name", "admin_socket_path", problems);
  return {
    syncIntervalSeconds:
      block.duration("sync_interval", "could not parse synchronization interval") ??
      DEFAULT_SYNC_SECONDS,
    tlsPolicy: tlsPolicy(block.boolean("require_pq_kem") ?? false),
    jwtSvidCacheHitTimeoutSeconds: readJwtTimeout(block, problems),
    ...readCredentialsSocket(block),
    callRates: readCallRates(block.block("ratelimit"), problems),
  };
}

/** The one flag there is means nothing to SPIRE's agent either. */
function noteFeatureFlags(block: Block, problems: Problems): void {
  if (!readFeatureFlags(block, [WIT_SVID_FLAG], problems).includes(WIT_SVID_FLAG)) return;
  problems.note(
    `feature flag ${WIT_SVID_FLAG} is not needed: it is the server that has WIT-SVIDs`,
    block.lineOf("feature_flags"),
  );
}

function refuseNamedPipe(block: Block, key: string, instead: string, problems: Problems): void {
  if (!block.asksFor(key)) return;
  problems.add(
    `invalid configuration: ${key} is not supported in this platform; please use ${instead} instead`,
    block.lineOf(key),
  );
}

function readJwtTimeout(block: Block, problems: Problems): number {
  const key = "jwt_svid_cache_hit_timeout";
  const { least, default: most } = JWT_TIMEOUT_SECONDS;
  const seconds = block.duration(key, `could not parse ${key}`);
  if (seconds === undefined) return most;
  if (seconds < least || seconds >= most) {
    problems.add(`${key} must be at least ${least}s and less than ${most}s`, block.lineOf(key));
  }
  return seconds;
}

function readCredentialsSocket(block: Block): Pick<ExperimentalConfig, "credentialsSocketPath"> {
  const path = block.string("credentials_socket_path") ?? "";
  return path === "" ? {} : { credentialsSocketPath: resolve(path) };
}

/** Methods of the Workload API and of SDS, by the key that limits them. */
const LIMITED: Readonly<Record<string, string>> = {
  fetch_x509_svid: "/SpiffeWorkloadAPI/FetchX509SVID",
  fetch_jwt_svid: "/SpiffeWorkloadAPI/FetchJWTSVID",
  fetch_x509_bundles: "/SpiffeWorkloadAPI/FetchX509Bundles",
  fetch_jwt_bundles: "/SpiffeWorkloadAPI/FetchJWTBundles",
  stream_secrets: "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
  fetch_secrets: "/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets",
};

function readCallRates(block: Block | undefined, problems: Problems): CallRates {
  const rates = new Map<string, number>();
  for (const [key, method] of Object.entries(LIMITED)) {
    const rate = block?.number(key) ?? 0;
    if (rate < 0) {
      problems.add(`experimental.ratelimit.${key} must not be negative`, block?.lineOf(key));
    }
    if (rate > 0) rates.set(method, rate);
  }
  block?.finish();
  return rates;
}

/** Takes or refuses the keys of the agent block that find nothing to do. */
export function readOtherAgentKeys(agent: Block, problems: Problems): void {
  readProfiling(agent, problems);
}
