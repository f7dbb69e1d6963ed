import { createHash } from "node:crypto";
import type { CallContext } from "#grpc/bind.ts";
import type {
  BatchNewX509SVIDRequest,
  BatchNewX509SVIDResponse,
  BatchNewX509SVIDResponse_Result,
  NewJWTSVIDRequest,
  NewJWTSVIDResponse,
  NewX509SVIDParams,
} from "#proto/spire/api/server/svid/v1/svid.ts";
import type { JWTSVID } from "#proto/spire/api/types/jwtsvid.ts";
import {
  apiCall,
  attempt,
  batchItem,
  callerId,
  eachItem,
  waitForTurn,
} from "#server/api/call/api-call.ts";
import type { RateLimits } from "#server/api/call/rate-limit.ts";
import type { AuthorizedEntriesSource } from "#server/api/entry/entry-sync.ts";
import type { CaManager, X509Svid } from "#server/ca/ca-manager.ts";
import { checkWorkloadId } from "#server/message/convert-id.ts";
import { jwtSvidMessage, x509SvidMessage } from "#server/message/convert-svid.ts";
import { checkedCsr } from "#server/message/csr.ts";
import { invalidArgument, okStatus, unknownEntry } from "#server/message/failure.ts";
import { namedAudience } from "#spiffe/audience.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { momentField } from "#x509/iso-time.ts";

export interface WorkloadSvidParts {
  readonly trustDomain: TrustDomain;
  readonly authorized: AuthorizedEntriesSource;
  readonly ca: Pick<CaManager, "x509Svid" | "jwtSvid">;
  readonly limits: RateLimits;
  readonly jwtSvidsDisabled: boolean;
}

/** Signs an X509-SVID for each of the entries the calling agent named, as far as they are its own. */
export async function batchNewX509Svid(
  parts: WorkloadSvidParts,
  { params }: BatchNewX509SVIDRequest,
  context: CallContext,
): Promise<BatchNewX509SVIDResponse> {
  const call = apiCall(context);
  if (params.length === 0) throw invalidArgument("missing parameters");
  const refusal = "rejecting request due to certificate signing rate limiting";
  await waitForTurn(parts.limits.x509Signing, context, params.length, refusal);
  const agentId = callerId(call).toString();
  // Signing leaves the event loop, so a batch keeps every core busy.
  const results = await eachItem(params, (param) =>
    batchItem<BatchNewX509SVIDResponse_Result>(
      call,
      async () => ({
        status: okStatus(),
        svid: x509SvidMessage(await newX509Svid(parts, param, agentId)),
      }),
      (status) => ({ status, svid: undefined }),
      ({ svid }) => ({
        csr: createHash("sha256").update(param.csr).digest("hex"),
        entry_id: param.entryId,
        spiffe_id: parts.authorized.authorizedEntry(agentId, param.entryId)?.spiffeId.toString(),
        expires_at: svid && momentField(svid.expiresAt),
      }),
    ),
  );
  return { results };
}

async function newX509Svid(
  { ca, authorized }: WorkloadSvidParts,
  { entryId, csr: csrDer }: NewX509SVIDParams,
  agentId: string,
): Promise<X509Svid> {
  if (entryId === "") throw invalidArgument("missing entry ID");
  if (csrDer.length === 0) throw invalidArgument("missing CSR");
  const entry = authorized.authorizedEntry(agentId, entryId);
  if (entry === undefined) throw unknownEntry();
  const csr = await checkedCsr(csrDer, {
    malformed: "malformed CSR",
    badSignature: "invalid CSR signature",
  });
  return await attempt("failed to sign X509-SVID", () =>
    ca.x509Svid({
      id: entry.spiffeId,
      publicKeySpki: csr.publicKeySpki,
      publicKey: csr.publicKey,
      ttlSeconds: entry.x509SvidTtl,
      dnsNames: [...entry.dnsNames],
    }),
  );
}

/** Signs a JWT-SVID for an entry of the calling agent. */
export async function newJwtSvid(
  parts: WorkloadSvidParts,
  { entryId, audience }: NewJWTSVIDRequest,
  context: CallContext,
): Promise<NewJWTSVIDResponse> {
  const call = apiCall(context);
  call.audit.add({ entry_id: entryId, audience: audience.join(",") });
  const refusal = "rejecting request due to JWT signing request rate limiting";
  await waitForTurn(parts.limits.jwtSigning, context, 1, refusal);
  checkJwtEnabled(parts);
  const entry = parts.authorized.authorizedEntry(callerId(call).toString(), entryId);
  if (entry === undefined) throw unknownEntry();
  const id = entry.spiffeId;
  call.audit.add({ spiffe_id: id.toString(), ttl: entry.jwtSvidTtl });
  checkSignable(parts, id);
  const { jwtSvidTtl: ttl, jwtSvidIncludeJti: includeJti } = entry;
  return { svid: await signJwtSvid(parts, { id, audience, ttl, includeJti }) };
}

function checkSignable({ trustDomain }: WorkloadSvidParts, id: SpiffeId): void {
  try {
    checkWorkloadId(trustDomain, id);
  } catch (error) {
    throw invalidArgument("invalid SPIFFE ID", error);
  }
}

/** @throws StatusError UNIMPLEMENTED when the configuration switched JWT-SVIDs off */
export function checkJwtEnabled({ jwtSvidsDisabled }: WorkloadSvidParts): void {
  if (jwtSvidsDisabled) {
    throw new StatusError(StatusCode.UNIMPLEMENTED, "JWT functionality is disabled");
  }
}

/** @param claims `ttl` in seconds, 0 for the server's default */
export async function signJwtSvid(
  { ca }: WorkloadSvidParts,
  claims: {
    readonly id: SpiffeId;
    readonly audience: readonly string[];
    readonly ttl: number;
    readonly includeJti: boolean;
  },
): Promise<JWTSVID> {
  const { id, ttl, includeJti } = claims;
  const audience = namedAudience(claims.audience, "at least one audience is required");
  const svid = await attempt("failed to sign JWT-SVID", () =>
    ca.jwtSvid({ id, audience, ttlSeconds: ttl, includeJti }),
  );
  return jwtSvidMessage(id, svid);
}
