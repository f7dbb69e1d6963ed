/** The experimental block of server.conf, and the keys of the server block that find nothing to do here. */
import { Block, type Problems } from "#config/block.ts";
import {
  type NeedlessKeys,
  type RefusedKeys,
  readFeatureFlags,
  readProfiling,
  refuse,
  takeNeedless,
} from "#config/other-keys.ts";
import { TrustedProxies } from "#grpc/proxied-connections.ts";
import { errorText } from "#spiffe/status-error.ts";

export interface ExperimentalConfig {
  readonly agentSpiffeIdAsSelector: boolean;
  /** Whether TLS is refused to whoever cannot agree on keys that a quantum computer does not break. */
  readonly requirePqKem: boolean;
}

const ALWAYS_CURRENT =
  "the index of entries changes with each write, so there is nothing to reload";
const NO_EVENTS = "there is no table of events: the index of entries changes with each write";
const WITH_WIT_SVIDS = "it counts with the feature flag wit-svid alone";

const NEEDLESS: NeedlessKeys = {
  cache_reload_interval: ["duration", ALWAYS_CURRENT],
  full_cache_reload_interval: ["duration", ALWAYS_CURRENT],
  events_based_cache: ["boolean", NO_EVENTS],
  prune_events_older_than: ["duration", NO_EVENTS],
  event_timeout: ["duration", NO_EVENTS],
  sql_transaction_timeout: ["duration", NO_EVENTS],
  wit_issuer: ["string", WITH_WIT_SVIDS],
  wit_key_type: ["string", WITH_WIT_SVIDS],
};

const REFUSED: RefusedKeys = {
  auth_opa_policy_engine:
    "who may call what is SPIRE's default policy; remove the block, and give rights by admin_ids, by entries with -admin or -downstream, and by who may open socket_path",
};

const FEATURE_FLAGS: RefusedKeys = {
  "wit-svid": "WIT-SVIDs are not built in; remove it",
};

/** Reads the block; an absent one asks for nothing. */
export function readExperimental(block: Block | undefined, problems: Problems): ExperimentalConfig {
  const experimental = block ?? new Block([], "the experimental block", problems);
  takeNeedless(experimental, NEEDLESS, problems);
  refuse(experimental, REFUSED, problems);
  readFeatureFlags(experimental, FEATURE_FLAGS, problems);
  if (experimental.asksFor("named_pipe_name")) {
    problems.add(
      "invalid configuration: named_pipe_name is not supported in this platform; please use socket_path instead",
      experimental.lineOf("named_pipe_name"),
    );
  }
  const config = {
    agentSpiffeIdAsSelector: experimental.boolean("agent_spiffe_id_as_selector") ?? false,
    requirePqKem: experimental.boolean("require_pq_kem") ?? false,
  };
  experimental.finish();
  return config;
}

const SERVER_NEEDLESS: NeedlessKeys = {
  max_attested_node_info_staleness: [
    "duration",
    "what is known of a node is read anew for each call, and never stale",
  ],
};

/** @returns undefined when no balancer is to be believed */
export function readTrustedProxies(server: Block, problems: Problems): TrustedProxies | undefined {
  const key = "proxy_protocol_trusted_cidrs";
  const cidrs = server.strings(key);
  if (cidrs.length === 0) return undefined;
  try {
    return new TrustedProxies(cidrs);
  } catch (error) {
    problems.add(`${key}: ${errorText(error)}`, server.lineOf(key));
    return undefined;
  }
}

/** Takes or refuses the keys of the server block that find nothing to do. */
export function readOtherServerKeys(server: Block, problems: Problems): void {
  takeNeedless(server, SERVER_NEEDLESS, problems);
  readProfiling(server, problems);
}
