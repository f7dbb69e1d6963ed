/** What is built into the agent: kind → configuration name → constructor. */
import type { AgentConfig } from "#agent/config.ts";
import type { NodeAttestorAgent, WorkloadAttestor } from "#attestors/attestor.ts";
import { createJoinTokenAgent } from "#attestors/join_token/agent.ts";
import { createUnixWorkloadAttestor } from "#attestors/unix/workload.ts";
import { DiskKeyManager } from "#keymanager/disk.ts";
import type { KeyManager } from "#keymanager/key-manager.ts";
import { MemoryKeyManager } from "#keymanager/memory.ts";
import type { Log } from "#log/log.ts";

export function openKeyManager(
  { plugins: { keyManager } }: AgentConfig,
  log: Log,
): Promise<KeyManager> {
  return keyManager.name === "disk"
    ? DiskKeyManager.open(keyManager.keysPath, log)
    : Promise.resolve(new MemoryKeyManager());
}

/** @throws Error when the attestor lacks what it needs */
export function openNodeAttestor(config: AgentConfig): NodeAttestorAgent {
  if (config.joinToken === undefined) {
    throw new Error(
      "the agent has no SVID yet and no join token: give -joinToken (spire-server token generate prints one)",
    );
  }
  return createJoinTokenAgent(config.joinToken);
}

export function openWorkloadAttestors({ plugins }: AgentConfig): readonly WorkloadAttestor[] {
  return plugins.workloadAttestors.map((config) => createUnixWorkloadAttestor(config));
}
