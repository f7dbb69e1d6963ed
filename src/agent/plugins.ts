/** The plugins that are built into the agent. The one list; a plugin that is not here does not exist. */
import { join } from "node:path";
import { joinTokenAgent } from "#attestors/join_token/agent-plugin.ts";
import { systemdWorkloadAttestor } from "#attestors/systemd/plugin.ts";
import { ZERO_UNIX_CONFIG } from "#attestors/unix/config.ts";
import { unixWorkloadAttestor } from "#attestors/unix/plugin.ts";
import { x509popAgent } from "#attestors/x509pop/agent-plugin.ts";
import type { AbsentKind, PluginConfigs, PluginKind } from "#config/plugin.ts";
import { agentDiskKeyManager } from "#keymanager/disk/plugin.ts";
import { memoryKeyManager } from "#keymanager/memory/plugin.ts";

type KeyManagers = [typeof agentDiskKeyManager, typeof memoryKeyManager];
type NodeAttestors = [typeof joinTokenAgent, typeof x509popAgent];
type WorkloadAttestors = [typeof systemdWorkloadAttestor, typeof unixWorkloadAttestor];

type AgentPluginTable = {
  readonly keyManager: PluginKind<"exactly 1", KeyManagers>;
  readonly nodeAttestor: PluginKind<"exactly 1", NodeAttestors>;
  readonly workloadAttestors: PluginKind<"at least 1", WorkloadAttestors>;
};

export const AGENT_PLUGINS: AgentPluginTable = {
  keyManager: {
    kind: "KeyManager",
    allowed: "exactly 1",
    builtIn: [agentDiskKeyManager, memoryKeyManager],
    zero: ({ dataDir }) => [{ name: "disk", keysPath: join(dataDir, "keys.json") }],
  },
  nodeAttestor: {
    kind: "NodeAttestor",
    allowed: "exactly 1",
    builtIn: [joinTokenAgent, x509popAgent],
    zero: () => [{ name: "join_token" }],
  },
  workloadAttestors: {
    kind: "WorkloadAttestor",
    allowed: "at least 1",
    builtIn: [systemdWorkloadAttestor, unixWorkloadAttestor],
    zero: () => [ZERO_UNIX_CONFIG],
  },
};

export type AgentPlugins = PluginConfigs<AgentPluginTable>;

export const ABSENT_AGENT_PLUGINS: readonly AbsentKind[] = [
  {
    kind: "SVIDStore",
    instead: "remove it, and have a workload with that identity store its SVID",
  },
];
