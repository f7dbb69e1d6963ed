import { type KeylessConfig, keyless, type Plugin } from "#config/plugin.ts";
import type { KeyManagerParts } from "#keymanager/key-manager.ts";
import { MemoryKeyManager } from "./memory.ts";

export const memoryKeyManager: Plugin<
  KeylessConfig<"memory">,
  KeyManagerParts,
  MemoryKeyManager
> = {
  ...keyless("memory"),
  open: async () => new MemoryKeyManager(),
};
