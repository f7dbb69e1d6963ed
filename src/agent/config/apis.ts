/** The keys of agent.conf about what the agent serves: the admin socket, delegates, and which APIs the public socket has. */
import { dirname, resolve } from "node:path";
import type { SdsConfig } from "#agent/sds/secrets.ts";
import type { Block, Problems } from "#config/block.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { errorText } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";

export interface ApisConfig {
  readonly disableWorkloadApi: boolean;
  readonly disableSdsApi: boolean;
  /** Absolute; absent without an admin socket. */
  readonly adminSocketPath?: string;
  /** SPIFFE IDs of those who may ask for identities on behalf of workloads. */
  readonly authorizedDelegates: readonly string[];
  readonly sds: SdsConfig;
}

export interface ApisFlags {
  readonly disableWorkloadAPI?: boolean;
  readonly disableSDSAPI?: boolean;
}

export function readApis(
  agent: Block,
  flags: ApisFlags,
  socketPath: string,
  trustDomain: TrustDomain,
  problems: Problems,
): ApisConfig {
  const isSet = (flag: boolean | undefined, key: string): boolean => {
    const set = agent.boolean(key) ?? false;
    return flag ?? set;
  };
  const disableWorkloadApi = isSet(flags.disableWorkloadAPI, "disable_workload_api");
  const disableSdsApi = isSet(flags.disableSDSAPI, "disable_sds_api");
  const isServed = !(disableWorkloadApi && disableSdsApi);
  return {
    disableWorkloadApi,
    disableSdsApi,
    ...readAdminSocket(agent, isServed ? socketPath : undefined, problems),
    authorizedDelegates: readDelegates(agent, trustDomain, problems),
    sds: readSds(agent.block("sds") ?? agent.none()),
  };
}

function readSds(sds: Block): SdsConfig {
  const name = (key: string, otherwise: string): string => sds.string(key) || otherwise;
  const config = {
    defaultSvidName: name("default_svid_name", "default"),
    defaultBundleName: name("default_bundle_name", "ROOTCA"),
    defaultAllBundlesName: name("default_all_bundles_name", "ALL"),
    disableSpiffeCertValidation: sds.boolean("disable_spiffe_cert_validation") ?? false,
  };
  sds.finish();
  return config;
}

/** To be logged at start. */
export function apiWarnings({ sds, disableSdsApi }: ApisConfig): string[] {
  if (disableSdsApi || sds.defaultBundleName !== sds.defaultAllBundlesName) return [];
  return [
    "sds: default_bundle_name and default_all_bundles_name are the same, so default_all_bundles_name has no effect",
  ];
}

/** Whoever may reach the public directory could otherwise put another socket where delegates look for the agent's. */
function readAdminSocket(
  agent: Block,
  publicSocketPath: string | undefined,
  problems: Problems,
): Pick<ApisConfig, "adminSocketPath"> {
  const key = "admin_socket_path";
  const text = agent.string(key) ?? "";
  if (text === "") return {};
  const adminSocketPath = resolve(text);
  if (
    publicSocketPath !== undefined &&
    adminSocketPath.startsWith(`${dirname(resolve(publicSocketPath))}/`)
  ) {
    problems.add(
      "admin socket cannot be in the same directory or a subdirectory as that containing the Workload API socket",
      agent.lineOf(key),
    );
  }
  return { adminSocketPath };
}

function readDelegates(
  agent: Block,
  trustDomain: TrustDomain,
  problems: Problems,
): readonly string[] {
  const key = "authorized_delegates";
  return agent.strings(key).flatMap((text) => {
    try {
      const id = SpiffeId.parse(text);
      if (id.memberOf(trustDomain)) return [id.toString()];
      throw new Error(`SPIFFE ID "${id}" is not a member of trust domain "${trustDomain.name}"`);
    } catch (error) {
      problems.add(`error validating authorized delegate: ${errorText(error)}`, agent.lineOf(key));
      return [];
    }
  });
}
