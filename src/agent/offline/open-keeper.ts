import type { Log } from "#log/log.ts";
import type { DescriptorStore } from "#notify/descriptor-store.ts";
import { CacheKeeper, type CacheKeeperParts } from "./cache-keeper.ts";
import { DescriptorSnapshots } from "./descriptor-snapshots.ts";
import { DirectorySnapshots } from "./directory-snapshots.ts";
import type { SnapshotStore } from "./snapshot-store.ts";

export interface OfflineConfig {
  /** Nothing is kept, and what was kept is forgotten. */
  readonly disabled: boolean;
  /** A directory in memory; goes before systemd's descriptor store. */
  readonly directory?: string;
}

/**
 * Chooses where the workload cache is kept; places not chosen are cleared, since what they hold would be old one day.
 *
 * @returns undefined when it is kept nowhere
 * @throws Error with a message for the operator when the directory cannot be used
 */
export async function openCacheKeeper(
  config: OfflineConfig,
  descriptors: DescriptorStore | undefined,
  parts: Omit<CacheKeeperParts, "store">,
): Promise<CacheKeeper | undefined> {
  const stores: SnapshotStore[] = [];
  if (config.directory !== undefined) stores.push(await DirectorySnapshots.open(config.directory));
  if (descriptors !== undefined) stores.push(new DescriptorSnapshots(descriptors, parts.log));
  const store = config.disabled ? undefined : stores.shift();
  for (const other of stores) await forget(other, parts.log);
  return store === undefined ? undefined : new CacheKeeper({ ...parts, store });
}

async function forget(store: SnapshotStore, log: Log): Promise<void> {
  try {
    await store.clear();
  } catch (error) {
    log.warn("Failed to remove the saved workload cache", { place: store.place, error });
  }
}
