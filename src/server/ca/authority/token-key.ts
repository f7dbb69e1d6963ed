/** Keys that sign tokens: JWT-SVIDs or WIT-SVIDs. A new one is published in the trust bundle before it signs. */

import type { WitSvidProfile } from "#server/ca/profile/profile.ts";
import { emptyBundle, type KeyAuthority } from "#spiffe/bundle.ts";
import type { KeyType } from "#x509/signer.ts";
import { authorityFields, keyAuthorityOf, type Slot, type TokenKey } from "./authority.ts";
import type { CaManagerParts } from "./parts.ts";
import type { JwtKeyPublisher } from "./publish-jwt-key.ts";

const KEY_ID_LENGTH = 32;
const KEY_ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

export type TokenKeyName = "jwt" | "wit";

/** What tells the keys for one kind of token from those for the other. */
export interface TokenKeyKind {
  readonly name: TokenKeyName;
  readonly keyType: KeyType;
  /** When this resolves, the key is in the stored bundle. @throws StatusError or Error */
  publish(key: KeyAuthority): Promise<unknown>;
}

/** Keys for JWT-SVIDs reach the upstream's bundle, too. */
export function jwtKeyKind(
  { jwtKeyType }: CaManagerParts,
  publisher: JwtKeyPublisher,
): TokenKeyKind {
  return { name: "jwt", keyType: jwtKeyType, publish: (key) => publisher.publish(key) };
}

/** Keys for WIT-SVIDs stay with this server: there is no upstream that takes them. */
export function witKeyKind(
  { bundles, trustDomain }: CaManagerParts,
  { keyType }: WitSvidProfile,
): TokenKeyKind {
  return {
    name: "wit",
    keyType,
    publish: (key) => bundles.append({ ...emptyBundle(trustDomain), witAuthorities: [key] }),
  };
}

/** As the log names them, and the KeyManager's files. */
export function tokenKeyTitle(name: TokenKeyName): string {
  return name.toUpperCase();
}

/** The name of a slot's key in the KeyManager. */
export function tokenKeyId(name: TokenKeyName, slot: Slot): string {
  return `${tokenKeyTitle(name)}-Signer-${slot}`;
}

/** Makes the key of a slot. When this resolves, it is published. @throws StatusError or Error */
export async function prepareTokenKey(
  parts: CaManagerParts,
  { name, keyType, publish }: TokenKeyKind,
  slot: Slot,
): Promise<TokenKey> {
  const key = await parts.keyManager.generateKey(tokenKeyId(name, slot), keyType);
  const now = parts.clock.nowSeconds();
  const ttlSeconds = parts.profile().caTtlSeconds;
  const notAfter = now + ttlSeconds;
  const authorityId = randomKeyId(parts);
  const life = { issuedAt: now, notAfter, ttlSeconds };
  const tokenKey = { slot, key, authorityId, upstreamAuthorityId: "", ...life };
  await publish(keyAuthorityOf(tokenKey));
  parts.log.info(`${tokenKeyTitle(name)} key prepared`, authorityFields(tokenKey));
  return tokenKey;
}

/** Letters without bias: bytes beyond a multiple of their number are thrown away. */
function randomKeyId({ random }: CaManagerParts): string {
  const limit = 256 - (256 % KEY_ID_LETTERS.length);
  let id = "";
  while (id.length < KEY_ID_LENGTH) {
    for (const octet of random.bytes(KEY_ID_LENGTH)) {
      if (octet < limit && id.length < KEY_ID_LENGTH)
        id += KEY_ID_LETTERS[octet % KEY_ID_LETTERS.length];
    }
  }
  return id;
}
