/** The LocalAuthority service: an operator rotates the authorities of this server by hand, taints and revokes old ones. */
import { type BoundService, bindService, type CallContext } from "#grpc/bind.ts";
import {
  type ActivateJWTAuthorityRequest,
  type ActivateX509AuthorityRequest,
  LocalAuthorityService,
  type RevokeJWTAuthorityRequest,
  type RevokeX509AuthorityRequest,
  type RevokeX509UpstreamAuthorityRequest,
  type TaintJWTAuthorityRequest,
  type TaintX509AuthorityRequest,
  type TaintX509UpstreamAuthorityRequest,
} from "#proto/spire/api/server/localauthority/v1/localauthority.ts";
import { apiCall } from "#server/api/call/api-call.ts";
import { audited } from "#server/api/call/audited.ts";
import type { ServiceOptions } from "#server/api/call/guard.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { createJwtAuthorityHandlers } from "./local-authority-jwt.ts";
import type { LocalAuthorityParts } from "./local-authority-kind.ts";
import { createX509AuthorityHandlers } from "./local-authority-x509.ts";

export function createLocalAuthorityService(
  parts: LocalAuthorityParts,
  options: ServiceOptions,
): BoundService {
  const jwt = createJwtAuthorityHandlers(parts);
  const x509 = createX509AuthorityHandlers(parts);
  return bindService(
    LocalAuthorityService,
    audited({
      getJwtAuthorityState: () => jwt.state(),
      prepareJwtAuthority: () => jwt.prepare(),
      activateJwtAuthority: (request: ActivateJWTAuthorityRequest, context: CallContext) =>
        jwt.activate(request, apiCall(context)),
      taintJwtAuthority: (request: TaintJWTAuthorityRequest, context: CallContext) =>
        jwt.taint(request, apiCall(context)),
      revokeJwtAuthority: (request: RevokeJWTAuthorityRequest, context: CallContext) =>
        jwt.revoke(request, apiCall(context)),
      getX509AuthorityState: () => x509.state(),
      prepareX509Authority: () => x509.prepare(),
      activateX509Authority: (request: ActivateX509AuthorityRequest, context: CallContext) =>
        x509.activate(request, apiCall(context)),
      taintX509Authority: (request: TaintX509AuthorityRequest, context: CallContext) =>
        x509.taint(request, apiCall(context)),
      revokeX509Authority: (request: RevokeX509AuthorityRequest, context: CallContext) =>
        x509.revoke(request, apiCall(context)),
      taintX509UpstreamAuthority: (
        request: TaintX509UpstreamAuthorityRequest,
        context: CallContext,
      ) => x509.taintUpstream(request, apiCall(context)),
      revokeX509UpstreamAuthority: (
        request: RevokeX509UpstreamAuthorityRequest,
        context: CallContext,
      ) => x509.revokeUpstream(request, apiCall(context)),
      getWitAuthorityState: () => refuseWit(),
      prepareWitAuthority: () => refuseWit(),
      activateWitAuthority: () => refuseWit(),
      taintWitAuthority: () => refuseWit(),
      revokeWitAuthority: () => refuseWit(),
    }),
    options,
  );
}

async function refuseWit(): Promise<never> {
  throw new StatusError(StatusCode.UNIMPLEMENTED, "WIT-SVID functionality is not yet implemented");
}
