import type { WorkloadAttestor, WorkloadAttestorParts } from "#attestors/attestor.ts";
import type { Plugin } from "#config/plugin.ts";
import { readUnixConfig, type UnixConfig } from "./config.ts";
import { createUnixWorkloadAttestor } from "./workload.ts";

interface Opened extends WorkloadAttestor {
  /** Streams that are open stay with the selectors that were found before. */
  configure(config: UnixConfig): void;
}

export const unixWorkloadAttestor: Plugin<UnixConfig, WorkloadAttestorParts, Opened> = {
  name: "unix",
  read: readUnixConfig,
  privateFiles: () => [],
  open: async (config, { clock }) => {
    let current = createUnixWorkloadAttestor(config, clock);
    return {
      type: current.type,
      attest: (peer, signal) => current.attest(peer, signal),
      configure: (next) => {
        current = createUnixWorkloadAttestor(next, clock);
      },
    };
  },
  reconfigure: (attestor, config) => attestor.configure(config),
};
