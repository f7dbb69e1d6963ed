import type { WorkloadAttestor, WorkloadAttestorParts } from "#attestors/attestor.ts";
import { type KeylessConfig, keyless, type Plugin } from "#config/plugin.ts";
import { createSystemdWorkloadAttestor } from "./workload.ts";

export const systemdWorkloadAttestor: Plugin<
  KeylessConfig<"systemd">,
  WorkloadAttestorParts,
  WorkloadAttestor
> = {
  ...keyless("systemd"),
  open: async (_config, { systemd }) => createSystemdWorkloadAttestor(systemd),
};
