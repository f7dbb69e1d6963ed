/** How the agent knows its server on first contact, and what it does when it does not know it any more. */
import type { Block, Problems } from "#config/block.ts";
import { parseDuration } from "#config/duration.ts";
import { flagOrKey, pathFlagOrKey } from "#config/settings.ts";
import { parseEndpointSocket } from "#spiffe/endpoint-socket.ts";
import type { JoinWord } from "#spiffe/join-word.ts";
import { errorText } from "#spiffe/status-error.ts";
import type { AgentRunFlags } from "./config.ts";
import { refuseBesideJoinWord } from "./join.ts";

export interface BootstrapConfig {
  /** SHA-256 of the certificates that may be authorities, from a join word; the server is asked for the certificates. */
  readonly authorityFingerprints?: readonly string[];
  readonly trustBundlePath?: string;
  readonly trustBundleUrl?: string;
  /** A local service that answers for that URL, over plain HTTP. */
  readonly trustBundleUnixSocket?: string;
  /** The socket of a Workload API whose bundle of our trust domain is taken. */
  readonly trustBundleSpiffeSocket?: string;
  readonly trustBundleFormat: "pem" | "spiffe";
  readonly insecureBootstrap: boolean;
  /** Without any of the above, and without a file: the first server is believed, with a loud warning. */
  readonly trustOnFirstUse: boolean;
  readonly rebootstrapMode: "never" | "auto" | "always";
  readonly rebootstrapDelaySeconds: number;
}

const DEFAULT_DELAY_SECONDS = 600;

function readInsecure(agent: Block, { insecureBootstrap }: AgentRunFlags): boolean {
  const key = agent.boolean("insecure_bootstrap") ?? false;
  return insecureBootstrap ?? key;
}

/** @param word how the server is known, if there is one @param zero whether there is no file, so that nothing need be said */
export function readBootstrap(
  agent: Block,
  flags: AgentRunFlags,
  word: JoinWord | undefined,
  problems: Problems,
  zero: boolean,
): BootstrapConfig {
  const text = (flag: string | undefined, key: string): string => flagOrKey(agent, flag, key);
  const path = pathFlagOrKey(agent, flags.trustBundle, "trust_bundle_path");
  const url = text(flags.trustBundleUrl, "trust_bundle_url");
  const socket = agent.string("trust_bundle_unix_socket") ?? "";
  const endpoint = agent.string("trust_bundle_spiffe_workload_api") ?? "";
  const format = text(flags.trustBundleFormat, "trust_bundle_format") || "pem";
  agent.has("insecure_bootstrap");
  const insecure = readInsecure(agent, flags);
  if (format !== "pem" && format !== "spiffe") {
    problems.add(
      'invalid value for trust_bundle_format, expected "pem" or "spiffe"',
      agent.lineOf("trust_bundle_format"),
    );
  }
  const chosen = {
    insecure_bootstrap: insecure,
    trust_bundle_url: url !== "",
    trust_bundle_path: path !== "",
    trust_bundle_spiffe_workload_api: endpoint !== "",
  };
  const given = Object.entries(chosen).flatMap(([name, set]) => (set ? [name] : []));
  checkSources(agent, given, word !== undefined, zero, problems);
  checkUrl(agent, url, socket, problems);
  const endpointSocket = readEndpoint(agent, endpoint, problems);
  const isFirstBelieved = given.length === 0 && word === undefined;
  return {
    ...(path === "" ? {} : { trustBundlePath: path }),
    ...(url === "" ? {} : { trustBundleUrl: url }),
    ...(socket === "" ? {} : { trustBundleUnixSocket: socket }),
    ...(endpointSocket === "" ? {} : { trustBundleSpiffeSocket: endpointSocket }),
    trustBundleFormat: format === "spiffe" ? "spiffe" : "pem",
    insecureBootstrap: insecure,
    ...(word === undefined ? {} : { authorityFingerprints: word.fingerprints }),
    trustOnFirstUse: zero && isFirstBelieved,
    // Whoever can break the connection could otherwise take the server's place.
    ...readRebootstrap(agent, flags, insecure || isFirstBelieved, problems),
  };
}

function checkSources(
  agent: Block,
  given: readonly string[],
  hasWord: boolean,
  zero: boolean,
  problems: Problems,
): void {
  if (hasWord) {
    refuseBesideJoinWord(agent, given, problems);
  } else if (given.length === 2) {
    problems.add(`only one of ${given[0]} or ${given[1]} can be specified, not both`);
  } else if (given.length > 2) {
    const [last] = given.slice(-1);
    const number = given.length === 3 ? "three" : "four";
    problems.add(
      `only one of ${given.slice(0, -1).join(", ")}, or ${last} can be specified, not the ${number} options`,
    );
  }
  if (given.length === 0 && !zero && !hasWord) {
    problems.add(
      "trust_bundle_path, trust_bundle_url, or trust_bundle_spiffe_workload_api must be configured unless insecure_bootstrap is set",
    );
  }
}

function readEndpoint(agent: Block, endpoint: string, problems: Problems): string {
  if (endpoint === "") return "";
  try {
    return parseEndpointSocket(endpoint);
  } catch (error) {
    problems.add(
      `trust_bundle_spiffe_workload_api is not a valid SPIFFE Workload API endpoint address: ${errorText(error)}`,
      agent.lineOf("trust_bundle_spiffe_workload_api"),
    );
    return "";
  }
}

function checkUrl(agent: Block, text: string, socket: string, problems: Problems): void {
  if (text === "") {
    if (socket !== "") {
      problems.add("if trust_bundle_unix_socket is specified, so must be trust_bundle_url");
    }
    return;
  }
  const line = agent.lineOf("trust_bundle_url");
  const url = URL.parse(text);
  if (url === null) problems.add(`unable to parse trust bundle URL ${JSON.stringify(text)}`, line);
  else if (socket === "") {
    if (url.protocol !== "https:") problems.add("trust bundle URL must start with https://", line);
  } else {
    if (url.protocol !== "http:") {
      problems.add(
        "trust bundle URL must start with http:// when used with trust bundle unix socket",
        line,
      );
    }
    // These names are the agent's own, to tell the service what it asks for.
    for (const prefix of ["spiffe-", "spire-"]) {
      if ([...url.searchParams.keys()].some((name) => name.startsWith(prefix))) {
        problems.add(`trust_bundle_url query params can not start with ${prefix}`, line);
      }
    }
  }
}

function readRebootstrap(
  agent: Block,
  flags: AgentRunFlags,
  insecure: boolean,
  problems: Problems,
): Pick<BootstrapConfig, "rebootstrapMode" | "rebootstrapDelaySeconds"> {
  const rebootstrapDelaySeconds = readDelay(agent, flags, problems);
  const mode = flagOrKey(agent, flags.rebootstrapMode, "rebootstrap_mode") || "never";
  if (mode !== "never" && mode !== "auto" && mode !== "always") {
    const line = flags.rebootstrapMode === undefined ? agent.lineOf("rebootstrap_mode") : undefined;
    problems.add(`unknown rebootstrap mode specified: ${mode}`, line);
    return { rebootstrapMode: "never", rebootstrapDelaySeconds };
  }
  if (mode !== "never" && insecure) {
    problems.add("insecure_bootstrap option can not be used with rebootstrapping");
  }
  return { rebootstrapMode: mode, rebootstrapDelaySeconds };
}

function readDelay(agent: Block, flags: AgentRunFlags, problems: Problems): number {
  const text = flagOrKey(agent, flags.rebootstrapDelay, "rebootstrap_delay");
  try {
    return text === "" ? DEFAULT_DELAY_SECONDS : parseDuration(text);
  } catch (error) {
    const line =
      flags.rebootstrapDelay === undefined ? agent.lineOf("rebootstrap_delay") : undefined;
    problems.add(`error parsing rebootstrap delay duration: ${errorText(error)}`, line);
    return DEFAULT_DELAY_SECONDS;
  }
}

export function bootstrapWarnings(config: BootstrapConfig): string[] {
  if (!config.trustOnFirstUse && !config.insecureBootstrap) return [];
  return [
    "No trust bundle is given: unless one was stored before, the first server that answers is believed. Give a join word (-joinFile FILE; spire-server token generate -join makes one) or -trustBundle FILE (spire-server bundle show prints it) to be sure of the server",
  ];
}
