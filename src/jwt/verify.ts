/**
 * JWT-SVIDs, verified (JWT-SVID §4). The one door to jose. Called by the Workload API of the agent, which answers workloads that
 * ask whether a token is good.
 */
import type { KeyObject } from "node:crypto";
import { compactVerify } from "jose";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { type JwtSvidClaims, parseJwtSvidUnverified } from "./claims.ts";

/** "A small amount of leeway is acceptable" (JWT-SVID, Appendix A); as much as the reference gives. */
const LEEWAY_SECONDS = 60;

/** The keys of a trust domain by their IDs, or undefined when there is no bundle for it. */
export type KeysOf = (trustDomain: TrustDomain) => ReadonlyMap<string, KeyObject> | undefined;

export interface VerifiedJwtSvid {
  readonly id: SpiffeId;
  readonly claims: Readonly<Record<string, unknown>>;
  /** Unix seconds. */
  readonly expiresAt: number;
}

/**
 * Verifies a token against the keys of the trust domain that its subject belongs to, and of no other.
 *
 * @param audience whom the verifier takes itself for; one of them must be in the token
 * @param atSeconds Unix seconds
 * @throws Error saying why the token is not valid, fit for the one who showed it; the token itself is never in the message
 */
export async function verifyJwtSvid(
  token: string,
  audience: string | readonly string[],
  keysOf: KeysOf,
  atSeconds: number,
): Promise<VerifiedJwtSvid> {
  const unverified = parseJwtSvidUnverified(token);
  await verifySignature(token, unverified, keysOf);
  // From here on the claims are the issuer's: the signature covers the very bytes they were read from.
  checkTimes(unverified, atSeconds);
  checkAudience(unverified.audience, typeof audience === "string" ? [audience] : audience);
  const { id, claims, expiresAt } = unverified;
  return { id, claims, expiresAt };
}

async function verifySignature(
  token: string,
  { id, keyId, algorithm }: JwtSvidClaims,
  keysOf: KeysOf,
): Promise<void> {
  const { trustDomain } = id;
  const keys = keysOf(trustDomain);
  if (keys === undefined) throw new Error(`no keys found for trust domain "${trustDomain}"`);
  const key = keys.get(keyId);
  if (key === undefined) {
    throw new Error(
      `public key ${JSON.stringify(keyId.slice(0, 100))} not found in trust domain "${trustDomain}"`,
    );
  }
  try {
    // jose also refuses a key that does not fit the algorithm and critical headers it does not know (RFC 7515 §4.1.11).
    await compactVerify(token, key, { algorithms: [algorithm] });
  } catch (error) {
    throw new Error("token signature does not verify", { cause: error });
  }
}

function checkTimes(token: JwtSvidClaims, atSeconds: number): void {
  if (atSeconds - LEEWAY_SECONDS > token.expiresAt) throw new Error("token has expired");
  const latest = atSeconds + LEEWAY_SECONDS;
  if (token.notBefore !== undefined && latest < token.notBefore) {
    throw new Error("token is not valid yet (nbf)");
  }
  if (token.issuedAt !== undefined && latest < token.issuedAt) {
    throw new Error("token is issued in the future (iat)");
  }
}

/** JWT-SVID §3.2. An empty list of expected values accepts nothing. */
function checkAudience(actual: readonly string[], expected: readonly string[]): void {
  if (expected.some((value) => actual.includes(value))) return;
  throw new Error(`expected audience in ${list(expected)} (audience=${list(actual)})`);
}

function list(values: readonly string[]): string {
  return `[${values.map((value) => JSON.stringify(value)).join(" ")}]`;
}
