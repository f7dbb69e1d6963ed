import type {
  ActivateJWTAuthorityRequest,
  ActivateJWTAuthorityResponse,
  GetJWTAuthorityStateResponse,
  PrepareJWTAuthorityResponse,
  RevokeJWTAuthorityRequest,
  RevokeJWTAuthorityResponse,
  TaintJWTAuthorityRequest,
  TaintJWTAuthorityResponse,
} from "#proto/spire/api/server/localauthority/v1/localauthority.ts";
import type { ApiCall } from "#server/api/call/api-call.ts";
import { revokeJwtAuthority, taintJwtAuthority } from "#server/ca/authority/taint.ts";
import { invalidArgument } from "#server/message/failure.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import {
  activateAuthority,
  authorityStates,
  authorityToTaint,
  changeBundle,
  type LocalAuthorityParts,
  nameMessage,
  prepareAuthority,
} from "./local-authority-kind.ts";

interface JwtAuthorityHandlers {
  state(): Promise<GetJWTAuthorityStateResponse>;
  prepare(): Promise<PrepareJWTAuthorityResponse>;
  activate(
    request: ActivateJWTAuthorityRequest,
    call: ApiCall,
  ): Promise<ActivateJWTAuthorityResponse>;
  taint(request: TaintJWTAuthorityRequest, call: ApiCall): Promise<TaintJWTAuthorityResponse>;
  revoke(request: RevokeJWTAuthorityRequest, call: ApiCall): Promise<RevokeJWTAuthorityResponse>;
}

export function createJwtAuthorityHandlers(parts: LocalAuthorityParts): JwtAuthorityHandlers {
  const { jwt } = parts.ca.authorities;
  return {
    state: async () => {
      checkJwtEnabled(parts);
      return authorityStates(jwt);
    },
    prepare: async () => {
      checkJwtEnabled(parts);
      return { preparedAuthority: await prepareAuthority(jwt, "JWT") };
    },
    activate: async ({ authorityId }, call) => {
      checkJwtEnabled(parts);
      return { activatedAuthority: await activateAuthority(jwt, authorityId, call) };
    },
    taint: async ({ authorityId }, { audit, log }) => {
      if (authorityId !== "") audit.add({ local_authority_id: authorityId });
      checkJwtEnabled(parts);
      authorityToTaint(jwt, authorityId);
      await changeBundle(parts, "failed to taint JWT authority", (bundle) =>
        taintJwtAuthority(bundle, authorityId),
      );
      log.info("JWT authority tainted successfully", { local_authority_id: authorityId });
      return { taintedAuthority: nameMessage(authorityId) };
    },
    revoke: async ({ authorityId }, { audit, log }) => {
      if (authorityId !== "") audit.add({ local_authority_id: authorityId });
      checkJwtEnabled(parts);
      await checkRevocable(parts, authorityId);
      await changeBundle(parts, "failed to revoke JWT authority", (bundle) =>
        revokeJwtAuthority(bundle, authorityId),
      );
      log.info("JWT authority revoked successfully", { local_authority_id: authorityId });
      return { revokedAuthority: nameMessage(authorityId) };
    },
  };
}

function checkJwtEnabled({ jwtSvidsDisabled }: LocalAuthorityParts): void {
  if (jwtSvidsDisabled) {
    throw new StatusError(StatusCode.UNIMPLEMENTED, "JWT functionality is disabled");
  }
}

/** Any key of the bundle can be revoked, also one that was forgotten here, but not one that signs or is to sign next. */
async function checkRevocable(
  { ca, bundles, trustDomain }: LocalAuthorityParts,
  authorityId: string,
): Promise<void> {
  const refuse = (why: string): StatusError =>
    invalidArgument("invalid authority ID", new Error(why));
  const { active, prepared, old } = ca.authorities.jwt.state;
  if (authorityId === "") throw refuse("no authority ID provided");
  if (authorityId === prepared?.authorityId) throw refuse("unable to use a prepared key");
  if (authorityId === active?.authorityId) throw refuse("unable to use current authority");
  if (authorityId === old?.authorityId) return;
  const bundle = await bundles.find(trustDomain.name);
  if (bundle?.jwtAuthorities.some(({ keyId }) => keyId === authorityId) !== true) {
    throw refuse("no JWT authority found with provided authority ID");
  }
}
