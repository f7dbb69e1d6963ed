import type { NodeAttestorServerParts } from "#attestors/attestor.ts";
import type { Plugin } from "#config/plugin.ts";
import type { OpenedX509popServer } from "./open-server.ts";
import { readX509popServerConfig, type X509popServerConfig } from "./server-config.ts";

export const x509popServer: Plugin<
  X509popServerConfig,
  NodeAttestorServerParts,
  OpenedX509popServer
> = {
  name: "x509pop",
  read: readX509popServerConfig,
  privateFiles: () => [],
  open: async (config, parts) => {
    const { openX509popServer } = await import("./open-server.ts");
    return openX509popServer(config, parts);
  },
  reconfigure: (attestor, config) => attestor.configure(config),
};
