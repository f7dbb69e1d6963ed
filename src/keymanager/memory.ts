import type { KeyObject } from "node:crypto";
import { generatePrivateKey, privateKeyToPkcs8Pem, signerFromPrivateKey } from "#x509/keys.ts";
import type { KeyType } from "#x509/signer.ts";
import type { KeyManager, ManagedKey } from "./key-manager.ts";

/** A key whose private part is in this process. @throws Error when it is of a type we do not use */
export function managedKey(id: string, privateKey: KeyObject): ManagedKey {
  return {
    id,
    ...signerFromPrivateKey(privateKey),
    exportPrivateKeyPem: () => privateKeyToPkcs8Pem(privateKey),
  };
}

/** Keys that end with the process. */
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
