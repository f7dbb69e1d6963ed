/** Verifies JWT-SVIDs: the rules of the standard around jose's signature check (JWT-SVID §2-4). The one door to jose for tokens. */
import type { KeyObject } from "node:crypto";
import { decodeJwt, decodeProtectedHeader, jwtVerify } from "jose";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";

/** JWT-SVID §2.1 names exactly these. */
const ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "ES256",
  "ES384",
  "ES512",
  "PS256",
  "PS384",
  "PS512",
];
const MAX_TOKEN_BYTES = 64 * 1024;

export interface VerifiedJwtSvid {
  readonly id: SpiffeId;
  readonly claims: Readonly<Record<string, unknown>>;
  /** Unix seconds. */
  readonly expiresAt: number;
}

/**
 * @param audience the verifier's own name; one of the token's audiences must be it
 * @param keysOf the keys of a trust domain by their ID, or undefined when there is no bundle
 * @param atSeconds Unix seconds
 * @throws Error saying why the token is refused; the token itself is never in the message
 */
export async function verifyJwtSvid(
  token: string,
  audience: string,
  keysOf: (trustDomain: TrustDomain) => ReadonlyMap<string, KeyObject> | undefined,
  atSeconds: number,
): Promise<VerifiedJwtSvid> {
  const { id, keyId } = readUnverified(token);
  const keys = keysOf(id.trustDomain);
  if (keys === undefined) throw new Error(`no bundle found for trust domain "${id.trustDomain}"`);
  const key = keys.get(keyId);
  if (key === undefined) {
    throw new Error(
      `no JWT authority ${JSON.stringify(keyId)} found for trust domain "${id.trustDomain}"`,
    );
  }
  const { payload } = await jwtVerify(token, key, {
    algorithms: ALGORITHMS,
    currentDate: new Date(atSeconds * 1000),
    requiredClaims: ["sub", "aud", "exp"],
  }).catch((error: unknown) => {
    throw new Error(refusalText(error));
  });
  const audiences = typeof payload.aud === "string" ? [payload.aud] : (payload.aud ?? []);
  if (!audiences.includes(audience)) {
    const list = (values: readonly string[]): string =>
      `[${values.map((value) => JSON.stringify(value)).join(" ")}]`;
    throw new Error(`expected audience in ${list([audience])} (audience=${list(audiences)})`);
  }
  return { id, claims: payload, expiresAt: payload.exp ?? 0 };
}

/** Reads what says which key to use. Nothing in the token is verified yet at this point. */
function readUnverified(token: string): { readonly id: SpiffeId; readonly keyId: string } {
  if (token.length > MAX_TOKEN_BYTES)
    throw new Error(`token is longer than ${MAX_TOKEN_BYTES} bytes`);
  const { header, claims } = decode(token);
  if (!ALGORITHMS.includes(String(header.alg)))
    throw new Error("token header has an unsupported alg");
  // JWT-SVID §2.3: typ is optional, and then one of two.
  if (header.typ !== undefined && header.typ !== "JWT" && header.typ !== "JOSE") {
    throw new Error("token header type not equal to either JWT or JOSE");
  }
  if (typeof header.kid !== "string" || header.kid === "")
    throw new Error("token header missing key id");
  if (claims.exp === undefined) throw new Error("token missing exp claim");
  if (claims.sub === undefined) throw new Error("token missing subject claim");
  const id = SpiffeId.parse(claims.sub);
  return { id, keyId: header.kid };
}

function decode(token: string) {
  try {
    return { header: decodeProtectedHeader(token), claims: decodeJwt(token) };
  } catch {
    throw new Error("unable to parse JWT token");
  }
}

function refusalText(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  switch (code) {
    case "ERR_JWT_EXPIRED":
      return "token has expired";
    case "ERR_JWS_SIGNATURE_VERIFICATION_FAILED":
      return "token signature does not verify";
    case "ERR_JWT_CLAIM_VALIDATION_FAILED":
      return error instanceof Error
        ? `token claim is not valid: ${error.message}`
        : "token claim is not valid";
    default:
      return "token is not valid";
  }
}
