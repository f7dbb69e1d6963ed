import type { KeyObject } from "node:crypto";
import { privateKeyToPkcs8Pem, signerFromPrivateKey } from "#x509/keys.ts";
import type { ManagedKey } from "./key-manager.ts";

/**
 * A key that lives in this process.
 *
 * @throws Error when the key is of a type we do not use
 */
export function managedKey(id: string, privateKey: KeyObject): ManagedKey {
  const signer = signerFromPrivateKey(privateKey);
  return { ...signer, id, exportPrivateKeyPem: () => privateKeyToPkcs8Pem(privateKey) };
}
