/** The keys of server.conf's `NodeAttestor "x509pop"`. */
import type { Block, Problems } from "#config/block.ts";
import { Template } from "#config/template/template.ts";
import { errorText } from "#spiffe/status-error.ts";
import { TEMPLATE_FIELDS } from "./attributes.ts";

export interface X509popServerConfig {
  readonly name: "x509pop";
  /** Whether nodes show certificates of the operator's authorities, or SVIDs of this trust domain. */
  readonly mode: "external_pki" | "spiffe";
  /** Of files with authorities, PEM; empty in mode `spiffe`. */
  readonly caBundlePaths: readonly string[];
  /** What the path of an SVID must start with; ends with a slash. */
  readonly svidPrefix: string;
  /** Gives the path behind `/spire/agent`. */
  readonly agentPathTemplate: Template;
  readonly maxIntermediates: number;
  readonly maxRsaKeyBits: number;
  readonly verifyClientIp: boolean;
}

const NAME = 'NodeAttestor "x509pop"';
const DEFAULT_TEMPLATES = {
  external_pki: "/{{ .PluginName }}/{{ .Fingerprint }}",
  spiffe: "/{{ .PluginName }}/{{ .SVIDPathTrimmed }}",
} as const;
const DEFAULT_SVID_PREFIX = "/spire-exchange/";
const DEFAULT_MAX_INTERMEDIATES = 4;
const DEFAULT_MAX_RSA_KEY_BITS = 8192;

export function readX509popServerConfig(data: Block, problems: Problems): X509popServerConfig {
  const mode = readMode(data, problems);
  return {
    name: "x509pop",
    mode,
    caBundlePaths: readCaBundlePaths(data, mode, problems),
    svidPrefix: readSvidPrefix(data, problems),
    agentPathTemplate: readTemplate(data, mode, problems),
    maxIntermediates: readLimit(data, "max_intermediates", DEFAULT_MAX_INTERMEDIATES, problems),
    maxRsaKeyBits: readLimit(data, "max_rsa_key_size", DEFAULT_MAX_RSA_KEY_BITS, problems),
    verifyClientIp: data.boolean("verify_client_ip") ?? false,
  };
}

function readMode(data: Block, problems: Problems): X509popServerConfig["mode"] {
  const mode = data.string("mode") || "external_pki";
  if (mode === "external_pki" || mode === "spiffe") return mode;
  problems.add(`${NAME}: mode can only be either spiffe or external_pki`, data.lineOf("mode"));
  return "external_pki";
}

function readCaBundlePaths(
  data: Block,
  mode: X509popServerConfig["mode"],
  problems: Problems,
): readonly string[] {
  const path = data.path("ca_bundle_path") ?? "";
  const paths = data.paths("ca_bundle_paths");
  const line = data.lineOf("ca_bundle_paths") ?? data.lineOf("ca_bundle_path");
  if (mode === "spiffe") {
    if (path !== "" || paths.length > 0) {
      problems.add(
        `${NAME}: you can not use ca_bundle_path or ca_bundle_paths in spiffe mode`,
        line,
      );
    }
    return [];
  }
  if (path !== "" && paths.length > 0) {
    problems.add(
      `${NAME}: only one of ca_bundle_path or ca_bundle_paths can be configured, not both`,
      line,
    );
  }
  if (path === "" && paths.length === 0) {
    problems.add(`${NAME}: one of ca_bundle_path or ca_bundle_paths must be configured`, data.line);
  }
  return path === "" ? paths : [path];
}

/** `svid_prefix` is how the reference documents the key that it calls `spiffe_prefix`. */
function readSvidPrefix(data: Block, problems: Problems): string {
  const keys = ["spiffe_prefix", "svid_prefix"].filter((key) => data.has(key));
  const [key, other] = keys;
  if (other !== undefined) {
    problems.add(
      `${NAME}: spiffe_prefix and svid_prefix are the same; set one of them`,
      data.lineOf(other),
    );
  }
  const prefix = key === undefined ? DEFAULT_SVID_PREFIX : (data.string(key) ?? "");
  return prefix.endsWith("/") ? prefix : `${prefix}/`;
}

function readTemplate(
  data: Block,
  mode: X509popServerConfig["mode"],
  problems: Problems,
): Template {
  const fallback = Template.parse(DEFAULT_TEMPLATES[mode], TEMPLATE_FIELDS);
  const text = data.string("agent_path_template") ?? "";
  if (text === "") return fallback;
  const line = data.lineOf("agent_path_template");
  const words = `${NAME}: failed to parse agent_path_template ${JSON.stringify(text)}`;
  if (/^[^/{]/.test(text)) problems.add(`${words}: it must start with a slash`, line);
  try {
    return Template.parse(text, TEMPLATE_FIELDS);
  } catch (error) {
    problems.add(`${words}: ${errorText(error)}`, line);
    return fallback;
  }
}

function readLimit(data: Block, key: string, fallback: number, problems: Problems): number {
  const limit = data.number(key) ?? fallback;
  if (limit <= 0) problems.add(`${NAME}: ${key} must be greater than 0`, data.lineOf(key));
  return limit;
}
