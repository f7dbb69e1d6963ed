import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type { Clock } from "#clock/clock.ts";
import { verifyJwtSvid } from "#jwt/verify.ts";
import type {
  ValidateJWTSVIDRequest,
  ValidateJWTSVIDResponse,
} from "#proto/spiffe/workload/workload.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";

/** What every JWT-SVID has; claims of other trust domains beyond these are theirs to mean, so they are left out unless allowed. */
const KNOWN_CLAIMS = ["sub", "exp", "aud"];

export interface ValidateParts {
  readonly trustDomain: TrustDomain;
  readonly cache: WorkloadCache;
  readonly allowedForeignJwtClaims: () => readonly string[];
  readonly clock: Clock;
}

/** @throws StatusError INVALID_ARGUMENT saying why the token is refused */
export async function validateJwtSvid(
  parts: ValidateParts,
  { audience, svid }: ValidateJWTSVIDRequest,
): Promise<ValidateJWTSVIDResponse> {
  if (audience === "")
    throw new StatusError(StatusCode.INVALID_ARGUMENT, "audience must be specified");
  if (svid === "") throw new StatusError(StatusCode.INVALID_ARGUMENT, "svid must be specified");
  const keysOf = ({ name }: TrustDomain) => parts.cache.bundles.get(name)?.jwtKeys;
  try {
    const { id, claims } = await verifyJwtSvid(svid, audience, keysOf, parts.clock.nowSeconds());
    const own = id.memberOf(parts.trustDomain);
    const kept = Object.entries(claims).filter(
      ([name]) =>
        own || KNOWN_CLAIMS.includes(name) || parts.allowedForeignJwtClaims().includes(name),
    );
    return { spiffeId: id.toString(), claims: Object.fromEntries(kept) };
  } catch (error) {
    throw new StatusError(StatusCode.INVALID_ARGUMENT, errorText(error));
  }
}
