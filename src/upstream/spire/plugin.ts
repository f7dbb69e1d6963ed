import type { Plugin } from "#config/plugin.ts";
import type { UpstreamParts } from "#upstream/upstream-authority.ts";
import { readSpireUpstreamConfig, type SpireUpstreamConfig } from "./config.ts";
import type { SpireUpstreamAuthority } from "./spire.ts";

interface Opened {
  readonly upstream: SpireUpstreamAuthority;
}

export const spireUpstreamAuthority: Plugin<SpireUpstreamConfig, UpstreamParts, Opened> = {
  name: "spire",
  read: readSpireUpstreamConfig,
  privateFiles: () => [],
  open: async (config, parts) => {
    const { openSpireUpstreamAuthority } = await import("./spire.ts");
    return { upstream: openSpireUpstreamAuthority(config, parts) };
  },
  reconfigure: ({ upstream }, config) => upstream.configure(config),
};
