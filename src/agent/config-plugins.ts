/** The plugins block of agent.conf, as values a constructor takes. */
import { join } from "node:path";
import { DEFAULT_WORKLOAD_SIZE_LIMIT } from "#attestors/unix/size-limit.ts";
import type { UnixWorkloadAttestorConfig } from "#attestors/unix/workload.ts";
import {
  readX509popAgentConfig,
  type X509popAgentConfig,
} from "#attestors/x509pop/agent-config.ts";
import type { Block, Problems } from "#config/block.ts";
import { exactlyOne, type Plugin, pluginsOf, type Sourced } from "#config/plugins.ts";

export interface AgentPlugins {
  readonly keyManager: Sourced & (KeyManagerDiskConfig | { readonly name: "memory" });
  readonly nodeAttestor: Sourced & ({ readonly name: "join_token" } | X509popAgentConfig);
  readonly workloadAttestors: readonly (Sourced & WorkloadAttestorConfig)[];
}

export interface KeyManagerDiskConfig {
  readonly name: "disk";
  readonly keysPath: string;
}

type UnixConfig = { readonly name: "unix" } & UnixWorkloadAttestorConfig;
type WorkloadAttestorConfig = { readonly name: "systemd" } | UnixConfig;

/** What runs when there is no file: keys in the data directory, a join token, workloads by uid, gid and path. */
export function zeroAgentPlugins(dataDir: string): AgentPlugins {
  return {
    keyManager: { name: "disk", keysPath: join(dataDir, "keys.json") },
    nodeAttestor: { name: "join_token" },
    workloadAttestors: [
      {
        name: "unix",
        discoverWorkloadPath: true,
        discoverContainerPath: false,
        workloadSizeLimit: DEFAULT_WORKLOAD_SIZE_LIMIT,
      },
    ],
  };
}

export function readAgentPlugins(
  plugins: Block,
  dataDir: string,
  problems: Problems,
): AgentPlugins {
  const managers = pluginsOf(plugins, "KeyManager", ["disk", "memory"], problems);
  const nodeAttestors = pluginsOf(plugins, "NodeAttestor", ["join_token", "x509pop"], problems);
  const workloadAttestors = pluginsOf(plugins, "WorkloadAttestor", ["systemd", "unix"], problems);
  const instead = "remove it, and have a workload with that identity store its SVID";
  pluginsOf(plugins, "SVIDStore", instead, problems);
  plugins.finish();
  const zero = zeroAgentPlugins(dataDir);
  const manager = exactlyOne(managers, "KeyManager", problems);
  const nodeAttestor = exactlyOne(nodeAttestors, "NodeAttestor", problems);
  if (workloadAttestors.length === 0) {
    problems.add("WorkloadAttestor: constraint not satisfied: expected at least 1 but got 0");
  }
  const read: AgentPlugins = {
    keyManager: manager === undefined ? zero.keyManager : readKeyManager(manager, problems),
    nodeAttestor:
      nodeAttestor === undefined ? zero.nodeAttestor : readNodeAttestor(nodeAttestor, problems),
    workloadAttestors: workloadAttestors.map((plugin) => readWorkloadAttestor(plugin, problems)),
  };
  for (const plugin of [manager, nodeAttestor, ...workloadAttestors]) plugin?.finish();
  return read;
}

function readKeyManager(
  { name, data, source }: Plugin,
  problems: Problems,
): AgentPlugins["keyManager"] {
  return name === "memory"
    ? { name, ...source }
    : { ...readKeyManagerDiskConfig(data, problems), ...source };
}

export function readKeyManagerDiskConfig(data: Block, problems: Problems): KeyManagerDiskConfig {
  const directory = data.string("directory") ?? "";
  if (directory === "") problems.add('KeyManager "disk": directory is required');
  return { name: "disk", keysPath: join(directory, "keys.json") };
}

function readNodeAttestor(
  { name, data, source }: Plugin,
  problems: Problems,
): AgentPlugins["nodeAttestor"] {
  return name === "x509pop"
    ? { ...readX509popAgentConfig(data, problems), ...source }
    : { name: "join_token", ...source };
}

function readWorkloadAttestor(
  { name, data, source }: Plugin,
  problems: Problems,
): Sourced & WorkloadAttestorConfig {
  return name === "systemd"
    ? { name, ...source }
    : { ...readUnixConfig(data, problems), ...source };
}

export function readUnixConfig(data: Block, problems: Problems): UnixConfig {
  const discoverWorkloadPath = data.boolean("discover_workload_path") ?? false;
  const discoverContainerPath = data.boolean("discover_container_path") ?? false;
  if (discoverContainerPath && !discoverWorkloadPath) {
    problems.add(
      'WorkloadAttestor "unix": discover_container_path says of which processes a path is given: set discover_workload_path = true as well',
    );
  }
  return {
    name: "unix",
    discoverWorkloadPath,
    discoverContainerPath,
    workloadSizeLimit: data.number("workload_size_limit") ?? DEFAULT_WORKLOAD_SIZE_LIMIT,
  };
}
