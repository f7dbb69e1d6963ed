import type { NodeAttestorServer, NodeAttestorServerParts } from "#attestors/attestor.ts";
import { type KeylessConfig, keyless, type Plugin } from "#config/plugin.ts";
import { createJoinTokenServer } from "./server.ts";

export const joinTokenServer: Plugin<
  KeylessConfig<"join_token">,
  NodeAttestorServerParts,
  NodeAttestorServer
> = {
  ...keyless("join_token"),
  open: async (_config, parts) => createJoinTokenServer(parts),
};
