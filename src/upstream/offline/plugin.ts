import type { Plugin } from "#config/plugin.ts";
import type { UpstreamParts } from "#upstream/upstream-authority.ts";
import { type OfflineUpstreamConfig, readOfflineUpstreamConfig } from "./config.ts";
import type { OfflineUpstreamAuthority } from "./offline.ts";

interface Opened {
  readonly offline: OfflineUpstreamAuthority;
}

export const offlineUpstreamAuthority: Plugin<OfflineUpstreamConfig, UpstreamParts, Opened> = {
  name: "offline",
  read: (data, problems, { dataDir }) => readOfflineUpstreamConfig(data, dataDir, problems),
  privateFiles: () => [],
  open: async (config) => {
    const { openOfflineUpstreamAuthority } = await import("./offline.ts");
    return { offline: await openOfflineUpstreamAuthority(config) };
  },
  reconfigure: ({ offline }, config) => offline.configure(config),
};
