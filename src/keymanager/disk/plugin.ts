/** KeyManager `disk` as a plugin of either program; each asks for the file by another key, as the reference's do. */
import { join } from "node:path";
import type { Block, Problems } from "#config/block.ts";
import type { Plugin } from "#config/plugin.ts";
import type { KeyManagerParts } from "#keymanager/key-manager.ts";
import { DiskKeyManager } from "./disk.ts";

export interface DiskKeyManagerConfig {
  readonly name: "disk";
  readonly keysPath: string;
}

type DiskPlugin = Plugin<DiskKeyManagerConfig, KeyManagerParts, DiskKeyManager>;

export const serverDiskKeyManager: DiskPlugin = diskKeyManager((data, problems) => {
  const keysPath = data.string("keys_path") ?? "";
  if (keysPath === "") problems.add('KeyManager "disk": keys_path is required');
  return keysPath;
});

export const agentDiskKeyManager: DiskPlugin = diskKeyManager((data, problems) => {
  const directory = data.string("directory") ?? "";
  if (directory === "") problems.add('KeyManager "disk": directory is required');
  return join(directory, "keys.json");
});

function diskKeyManager(readPath: (data: Block, problems: Problems) => string): DiskPlugin {
  return {
    name: "disk",
    read: (data, problems) => ({ name: "disk", keysPath: readPath(data, problems) }),
    privateFiles: ({ keysPath }) => [keysPath],
    open: ({ keysPath }, { log }) => DiskKeyManager.open(keysPath, log),
    reconfigure: (keys, { keysPath }) => keys.moveTo(keysPath),
  };
}
