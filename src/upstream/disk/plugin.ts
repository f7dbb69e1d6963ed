import type { Plugin } from "#config/plugin.ts";
import type { UpstreamParts } from "#upstream/upstream-authority.ts";
import { type DiskUpstreamConfig, readDiskUpstreamConfig } from "./config.ts";
import type { DiskUpstreamAuthority } from "./disk.ts";

interface Opened {
  readonly upstream: DiskUpstreamAuthority;
}

export const diskUpstreamAuthority: Plugin<DiskUpstreamConfig, UpstreamParts, Opened> = {
  name: "disk",
  read: readDiskUpstreamConfig,
  privateFiles: ({ keyFilePath, pkcs12FilePath, pkcs12PasswordFile }) =>
    [keyFilePath, pkcs12FilePath, pkcs12PasswordFile].filter((path) => path !== undefined),
  open: async (config, parts) => {
    const { openDiskUpstreamAuthority } = await import("./disk.ts");
    return { upstream: await openDiskUpstreamAuthority(config, parts) };
  },
  reconfigure: ({ upstream }, config) => upstream.configure(config),
};
