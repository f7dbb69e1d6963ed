/** The node attestor of this agent: the configured one, or the join token that it was given. */
import type { AgentConfig } from "#agent/config/config.ts";
import { AGENT_PLUGINS } from "#agent/plugins.ts";
import type { NodeAttestorOpener } from "#attestors/attestor.ts";
import { joinTokenAgent } from "#attestors/join_token/agent-plugin.ts";
import type { Random } from "#clock/random.ts";
import { openPlugin } from "#config/open-plugin.ts";
import type { Reconfigurer } from "#config/reconfigurer.ts";
import type { Log } from "#log/log.ts";
import { givenToken, isTokenGiven } from "./given-token.ts";

interface Tools {
  readonly random: Random;
  readonly reconfigurer: Reconfigurer;
  readonly log: Log;
}

export async function openNodeAttestor(
  config: AgentConfig,
  tools: Tools,
): Promise<NodeAttestorOpener> {
  const parts = {
    ...tools,
    joinToken: () => givenToken(config),
    fetchIdentity: async (socketPath: string) => {
      const { fetchNodeIdentity } = await import("./other-agent.ts");
      return fetchNodeIdentity(socketPath);
    },
  };
  const configured = await openPlugin(
    AGENT_PLUGINS.nodeAttestor,
    config.plugins.nodeAttestor,
    parts,
  );
  if (!isTokenGiven(config)) return configured;
  // A token that is given is used whatever the file says, as in the reference.
  return joinTokenAgent.open({ name: "join_token" }, parts);
}
