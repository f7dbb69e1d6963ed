/** A new key for JWT-SVIDs, published in the trust bundle before it signs. */
import { authorityFields, type JwtKey, jwtAuthorityOf, type Slot } from "./authority.ts";
import type { CaManagerParts } from "./parts.ts";
import type { JwtKeyPublisher } from "./publish-jwt-key.ts";

const KEY_ID_LENGTH = 32;
const KEY_ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

export function jwtKeyId(slot: Slot): string {
  return `JWT-Signer-${slot}`;
}

/** Makes the JWT key of a slot. When this resolves, it is in the stored bundle, and in the upstream's. @throws StatusError or Error */
export async function prepareJwtKey(
  parts: CaManagerParts,
  publisher: JwtKeyPublisher,
  slot: Slot,
): Promise<JwtKey> {
  const key = await parts.keyManager.generateKey(jwtKeyId(slot), parts.jwtKeyType);
  const now = parts.clock.nowSeconds();
  const notAfter = now + parts.caTtlSeconds;
  const authorityId = randomKeyId(parts);
  const jwtKey = { slot, key, authorityId, upstreamAuthorityId: "", issuedAt: now, notAfter };
  await publisher.publish(jwtAuthorityOf(jwtKey));
  parts.log.info("JWT key prepared", authorityFields(jwtKey));
  return jwtKey;
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
