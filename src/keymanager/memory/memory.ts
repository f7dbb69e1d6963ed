/** The KeyManager `memory`: keys end with the process, so a server that uses it starts with a new CA each time. */

import type { KeyManager, ManagedKey } from "#keymanager/key-manager.ts";
import { managedKey } from "#keymanager/managed-key.ts";
import { generatePrivateKey } from "#x509/keys.ts";
import type { KeyType } from "#x509/signer.ts";

export class MemoryKeyManager implements KeyManager {
  readonly #keys: Map<string, ManagedKey> = new Map();

  async generateKey(id: string, keyType: KeyType): Promise<ManagedKey> {
    const key = managedKey(id, await generatePrivateKey(keyType));
    this.#keys.set(id, key);
    return key;
  }

  key(id: string): ManagedKey | undefined {
    return this.#keys.get(id);
  }

  keys(): readonly ManagedKey[] {
    return [...this.#keys.values()];
  }
}
