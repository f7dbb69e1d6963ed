import type {
  ActivateX509AuthorityRequest,
  ActivateX509AuthorityResponse,
  GetX509AuthorityStateResponse,
  PrepareX509AuthorityResponse,
  RevokeX509AuthorityRequest,
  RevokeX509AuthorityResponse,
  RevokeX509UpstreamAuthorityRequest,
  RevokeX509UpstreamAuthorityResponse,
  TaintX509AuthorityRequest,
  TaintX509AuthorityResponse,
  TaintX509UpstreamAuthorityRequest,
  TaintX509UpstreamAuthorityResponse,
} from "#proto/spire/api/server/localauthority/v1/localauthority.ts";
import type { ApiCall } from "#server/api/call/api-call.ts";
import { revokeX509Authority, taintX509Authority } from "#server/ca/authority/taint.ts";
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
  stateMessage,
} from "./local-authority-kind.ts";

interface X509AuthorityHandlers {
  state(): Promise<GetX509AuthorityStateResponse>;
  prepare(): Promise<PrepareX509AuthorityResponse>;
  activate(
    request: ActivateX509AuthorityRequest,
    call: ApiCall,
  ): Promise<ActivateX509AuthorityResponse>;
  taint(request: TaintX509AuthorityRequest, call: ApiCall): Promise<TaintX509AuthorityResponse>;
  revoke(request: RevokeX509AuthorityRequest, call: ApiCall): Promise<RevokeX509AuthorityResponse>;
  taintUpstream(
    request: TaintX509UpstreamAuthorityRequest,
    call: ApiCall,
  ): Promise<TaintX509UpstreamAuthorityResponse>;
  revokeUpstream(
    request: RevokeX509UpstreamAuthorityRequest,
    call: ApiCall,
  ): Promise<RevokeX509UpstreamAuthorityResponse>;
}

export function createX509AuthorityHandlers(parts: LocalAuthorityParts): X509AuthorityHandlers {
  const { x509, offline } = parts.ca.authorities;
  return {
    state: async () => authorityStates(x509),
    prepare: async () => ({
      preparedAuthority: await prepareAuthority(x509, "X.509", offline !== undefined),
    }),
    activate: async ({ authorityId }, call) => ({
      activatedAuthority: await activateAuthority(x509, authorityId, call),
    }),
    taint: async ({ authorityId }, { audit, log }) => {
      if (authorityId !== "") audit.add({ local_authority_id: authorityId });
      checkNoUpstream(parts, "tainted");
      const old = authorityToTaint(x509, authorityId);
      await changeBundle(parts, "failed to taint X.509 authority", (bundle) =>
        taintX509Authority(bundle, authorityId),
      );
      log.info("X.509 authority tainted successfully", { local_authority_id: authorityId });
      return { taintedAuthority: stateMessage(old) };
    },
    revoke: async ({ authorityId }, { audit, log }) => {
      if (authorityId !== "") audit.add({ local_authority_id: authorityId });
      checkNoUpstream(parts, "revoked");
      checkRevocable(parts, authorityId);
      await changeBundle(parts, "failed to revoke X.509 authority", (bundle) =>
        revokeX509Authority(bundle, authorityId),
      );
      log.info("X.509 authority revoked successfully", { local_authority_id: authorityId });
      return { revokedAuthority: nameMessage(authorityId) };
    },
    taintUpstream: async (request, { audit, log }) => {
      const subjectKeyId = upstreamId(parts, request.subjectKeyId, audit);
      checkUpstream(parts, subjectKeyId, "provided subject key id is not valid");
      await changeBundle(parts, "failed to taint upstream authority", (bundle) =>
        taintX509Authority(bundle, subjectKeyId),
      );
      log.info("X.509 upstream authority tainted successfully", { subject_key_id: subjectKeyId });
      return { upstreamAuthoritySubjectKeyId: subjectKeyId };
    },
    revokeUpstream: async (request, { audit, log }) => {
      const subjectKeyId = upstreamId(parts, request.subjectKeyId, audit);
      checkUpstream(parts, subjectKeyId, "invalid subject key ID");
      await changeBundle(parts, "failed to revoke X.509 upstream authority", (bundle) =>
        revokeX509Authority(bundle, subjectKeyId),
      );
      log.info("X.509 upstream authority successfully revoked", { subject_key_id: subjectKeyId });
      return { upstreamAuthoritySubjectKeyId: subjectKeyId };
    },
  };
}

/** Below an upstream it is the upstream's root that everybody trusts, not the CA of this server. */
function checkNoUpstream({ hasUpstreamAuthority }: LocalAuthorityParts, what: string): void {
  if (!hasUpstreamAuthority) return;
  throw new StatusError(
    StatusCode.FAILED_PRECONDITION,
    `local authority can't be ${what} if there is an upstream authority`,
  );
}

function checkRevocable({ ca }: LocalAuthorityParts, authorityId: string): void {
  const { active, old } = ca.authorities.x509.state;
  const refuse = (why: string): StatusError =>
    invalidArgument("invalid authority ID", new Error(why));
  if (authorityId === "") throw refuse("no authority ID provided");
  if (authorityId === active?.authorityId) throw refuse("unable to use current authority");
  if (authorityId !== old?.authorityId) throw refuse("only Old local authority can be revoked");
}

/** The subject key ID as the bundle is searched for it. */
function upstreamId(
  { hasUpstreamAuthority }: LocalAuthorityParts,
  given: string,
  audit: ApiCall["audit"],
): string {
  if (given !== "") audit.add({ subject_key_id: given });
  if (!hasUpstreamAuthority) {
    throw new StatusError(StatusCode.FAILED_PRECONDITION, "upstream authority is not configured");
  }
  return given.toLowerCase();
}

/** Only what signed the old authority, and neither the active nor the prepared one. The words are the reference's, slip and all. */
function checkUpstream({ ca }: LocalAuthorityParts, subjectKeyId: string, words: string): void {
  const { active, prepared, old } = ca.authorities.x509.state;
  const refuse = (why: string): StatusError => invalidArgument(words, new Error(why));
  if (subjectKeyId === "") throw refuse("no subject key ID provided");
  if (subjectKeyId === active?.upstreamAuthorityId) {
    throw refuse("unable to use upstream authority singing current authority");
  }
  if (subjectKeyId === prepared?.upstreamAuthorityId) {
    throw refuse("only upstream authorities signing an old authority can be used");
  }
  if (subjectKeyId !== old?.upstreamAuthorityId) {
    throw refuse("upstream authority didn't sign the old local authority");
  }
}
