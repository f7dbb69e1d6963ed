import type { KeyObject } from "node:crypto";

/** The key types of the configuration (`ca_key_type`, `jwt_key_type`, `workload_x509_svid_key_type`). */
export const KEY_TYPES = ["rsa-2048", "rsa-4096", "ec-p256", "ec-p384"] as const;
export type KeyType = (typeof KEY_TYPES)[number];

/** What signs here besides, when an operator brings the key of an authority: RSA keys of other sizes, and other curves. */
export type AuthorityKeyType = KeyType | "rsa" | "ec-p521" | "ed25519";

/**
 * A private key as its users see it: what signs, not what the secret is. Adapters that keep the secret elsewhere
 * (a TPM, a KMS) fit as well.
 */
export interface Signer<Type extends AuthorityKeyType = KeyType> {
  readonly keyType: Type;
  readonly publicKey: KeyObject;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKeySpki: Uint8Array;
  /**
   * Signs the bytes off the event loop's thread: ECDSA over P-256 with SHA-256, P-384 with SHA-384 and P-521 with SHA-512 (result DER),
   * RSA PKCS#1 v1.5 with SHA-256, Ed25519.
   */
  sign(data: Uint8Array): Promise<Uint8Array>;
}
