/** The keys of agent.conf's `WorkloadAttestor "unix"`. */
import type { Block, Problems } from "#config/block.ts";
import type { UnixWorkloadAttestorConfig } from "./workload.ts";

/** Bytes. Larger executables are not hashed, unless the configuration says otherwise: reading one takes a second or two. */
const DEFAULT_WORKLOAD_SIZE_LIMIT = 1024 * 1024 * 1024;

export type UnixConfig = { readonly name: "unix" } & UnixWorkloadAttestorConfig;

/** That of an agent without a file: workloads are known by uid, gid and path. */
export const ZERO_UNIX_CONFIG: UnixConfig = {
  name: "unix",
  discoverWorkloadPath: true,
  discoverContainerPath: false,
  workloadSizeLimit: DEFAULT_WORKLOAD_SIZE_LIMIT,
};

/** Reads `plugin_data`. What is wrong goes to the problems. */
export function readUnixConfig(data: Block, problems: Problems): UnixConfig {
  const discoverWorkloadPath = data.boolean("discover_workload_path") ?? false;
  const discoverContainerPath = data.boolean("discover_container_path") ?? false;
  if (discoverContainerPath && !discoverWorkloadPath) {
    problems.add(
      'WorkloadAttestor "unix": discover_container_path says of which processes a path is given: set discover_workload_path = true as well',
    );
  }
  return {
    name: "unix",
    discoverWorkloadPath,
    discoverContainerPath,
    workloadSizeLimit: data.number("workload_size_limit") ?? DEFAULT_WORKLOAD_SIZE_LIMIT,
  };
}
