/** The last look before a signature: what is to be signed against X509-SVID §2-4. Only a checked request reaches the key. */
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import type { SvidRequest } from "./profile.ts";

declare const checked: unique symbol;
/** A request that passed; there is no other way to get one. */
export type CheckedSvid = SvidRequest & { readonly [checked]: true };

/** @param caNotAfter Unix seconds: nothing outlives its issuer */
export function checkSvid(
  request: SvidRequest,
  trustDomain: TrustDomain,
  caNotAfter: number,
): CheckedSvid {
  const { id, notBefore, notAfter } = request;
  // X509-SVID §2: a CA signs for its own trust domain alone.
  if (!id.memberOf(trustDomain))
    throw refusal(`"${id}" is not a member of trust domain "${trustDomain}"`);
  // X509-SVID §4.1: the bare trust domain is the name of a signing certificate.
  if (id.path === "") throw refusal(`"${id}" has no path, so it cannot name a workload`);
  if (notAfter > caNotAfter) throw refusal("an SVID cannot outlive its CA");
  if (notAfter <= notBefore) {
    throw new StatusError(
      StatusCode.UNAVAILABLE,
      "the X.509 CA has expired; a new one is needed first",
    );
  }
  return request as CheckedSvid;
}

function refusal(message: string): StatusError {
  return new StatusError(StatusCode.INTERNAL, `X.509-SVID refused: ${message}`);
}
