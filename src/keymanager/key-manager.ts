/**
 * KeyManager: where private keys live. Keys are named by slot (`x509-CA-A`, `JWT-Signer-B`, `agent-svid-A`); generating a key
 * under a name that is taken replaces it. Used by the CA of the server and by the agent for its own SVID; workload keys
 * never come here.
 */
import type { Log } from "#log/log.ts";
import type { KeyType, Signer } from "#x509/signer.ts";

export interface ManagedKey extends Signer {
  readonly id: string;
  /**
   * The private key as PKCS#8 PEM, for the TLS stack that must hold it.
   *
   * @throws StatusError FAILED_PRECONDITION when this KeyManager cannot give it out
   */
  exportPrivateKeyPem(): string;
}

export interface KeyManager {
  /** Resolves only after the key is stored as durably as the KeyManager stores anything. */
  generateKey(id: string, keyType: KeyType): Promise<ManagedKey>;
  /** The key of that name, or undefined. */
  key(id: string): ManagedKey | undefined;
  keys(): readonly ManagedKey[];
}

/** What a KeyManager may use. */
export interface KeyManagerParts {
  readonly log: Log;
}
