/** The experimental block of server.conf, and the keys of the server block that find nothing to do here. */
import { Block, type Problems } from "#config/block.ts";
import {
  type NeedlessKeys,
  type RefusedKeys,
  readFeatureFlags,
  readProfiling,
  refuse,
  takeNeedless,
} from "#config/unsupported-settings.ts";
import { TrustedProxies } from "#grpc/proxied-connections.ts";
import { errorText } from "#spiffe/status-error.ts";
import { parseKeyType } from "#x509/keys.ts";
import type { KeyType } from "#x509/signer.ts";

export interface ExperimentalConfig {
  readonly agentSpiffeIdAsSelector: boolean;
  /** Whether TLS is refused to whoever cannot agree on keys that a quantum computer does not break. */
  readonly requirePqKem: boolean;
  /** Undefined: WIT-SVIDs are switched off. */
  readonly witSvids?: WitSvidsConfig;
}

export interface WitSvidsConfig {
  /** Of the key that signs them; undefined means that of the CA. */
  readonly keyType: KeyType | undefined;
  /** Their `iss`; empty for none. */
  readonly issuer: string;
}

const ALWAYS_CURRENT =
  "the index of entries changes with each write, so there is nothing to reload";
const NO_EVENTS = "there is no table of events: the index of entries changes with each write";

const NEEDLESS: NeedlessKeys = {
  cache_reload_interval: ["duration", ALWAYS_CURRENT],
  full_cache_reload_interval: ["duration", ALWAYS_CURRENT],
  events_based_cache: ["boolean", NO_EVENTS],
  prune_events_older_than: ["duration", NO_EVENTS],
  event_timeout: ["duration", NO_EVENTS],
  sql_transaction_timeout: ["duration", NO_EVENTS],
};

const REFUSED: RefusedKeys = {
  auth_opa_policy_engine:
    "who may call what is SPIRE's default policy; remove the block, and give rights by admin_ids, by entries with -admin or -downstream, and by who may open socket_path",
};

const WIT_SVID_FLAG = "wit-svid";

/** Reads the block; an absent one asks for nothing. */
export function readExperimental(block: Block | undefined, problems: Problems): ExperimentalConfig {
  const experimental = block ?? new Block([], "the experimental block", problems);
  takeNeedless(experimental, NEEDLESS, problems);
  refuse(experimental, REFUSED, problems);
  const witSvids = readWitSvids(experimental, problems);
  if (experimental.asksFor("named_pipe_name")) {
    problems.add(
      "invalid configuration: named_pipe_name is not supported in this platform; please use socket_path instead",
      experimental.lineOf("named_pipe_name"),
    );
  }
  const config = {
    agentSpiffeIdAsSelector: experimental.boolean("agent_spiffe_id_as_selector") ?? false,
    requirePqKem: experimental.boolean("require_pq_kem") ?? false,
    ...(witSvids === undefined ? {} : { witSvids }),
  };
  experimental.finish();
  return config;
}

/** What to tell the operator at the start. */
export function experimentalWarnings({ witSvids }: ExperimentalConfig): string[] {
  if (witSvids === undefined) return [];
  return [`feature flag ${WIT_SVID_FLAG} is on: WIT-SVIDs are an experiment, and may change`];
}

/** The keys for WIT-SVIDs are checked whether or not the feature flag lets them count, as the reference does. */
function readWitSvids(experimental: Block, problems: Problems): WitSvidsConfig | undefined {
  const keyType = readKeyType(experimental, "wit_key_type");
  const issuer = experimental.string("wit_issuer") ?? "";
  const flags = readFeatureFlags(experimental, [WIT_SVID_FLAG], problems);
  if (flags.includes(WIT_SVID_FLAG)) return { keyType, issuer };
  for (const key of ["wit_key_type", "wit_issuer"]) {
    if (!experimental.asksFor(key)) continue;
    const note = `${key} does nothing without the feature flag ${WIT_SVID_FLAG}`;
    problems.note(note, experimental.lineOf(key));
  }
  return undefined;
}

/** @returns undefined when the key is absent or empty */
export function readKeyType(block: Block, key: string): KeyType | undefined {
  const text = block.string(key);
  if (text === undefined || text === "") return undefined;
  return block.convert(key, `error parsing ${key}`, () => parseKeyType(text));
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
