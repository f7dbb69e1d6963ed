import type { NodeAttestorAgentParts, NodeAttestorOpener } from "#attestors/attestor.ts";
import { type KeylessConfig, keyless, type Plugin } from "#config/plugin.ts";
import { createJoinTokenAgent } from "./agent.ts";

export const joinTokenAgent: Plugin<
  KeylessConfig<"join_token">,
  NodeAttestorAgentParts,
  NodeAttestorOpener
> = {
  ...keyless("join_token"),
  open: async (_config, { joinToken }) => ({
    open: async () => createJoinTokenAgent(await joinToken()),
  }),
};
