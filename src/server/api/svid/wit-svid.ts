/**
 * WIT-SVIDs, which bind an identity to a key that the workload made. The RPCs answer UNIMPLEMENTED unless the configuration switched them
 * on by the feature flag wit-svid.
 */
import type { KeyObject } from "node:crypto";
import type { CallContext } from "#grpc/bind.ts";
import type {
  BatchNewWITSVIDRequest,
  BatchNewWITSVIDResponse,
  BatchNewWITSVIDResponse_Result,
  MintWITSVIDRequest,
  MintWITSVIDResponse,
  NewWITSVIDParams,
} from "#proto/spire/api/server/svid/v1/svid.ts";
import type { WITSVID } from "#proto/spire/api/types/witsvid.ts";
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
import type { CaManager } from "#server/ca/ca-manager.ts";
import { workloadIdFrom } from "#server/message/convert-id.ts";
import { witSvidMessage } from "#server/message/convert-svid.ts";
import { invalidArgument, okStatus, unknownEntry } from "#server/message/failure.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { isoTime, momentField } from "#x509/iso-time.ts";
import { checkSigningAlgorithm, readPublicKey } from "./wit-key.ts";

export interface WitSvidParts {
  readonly trustDomain: TrustDomain;
  readonly authorized: AuthorizedEntriesSource;
  readonly ca: Pick<CaManager, "witSvid">;
  readonly limits: RateLimits;
  readonly witSvidsEnabled: boolean;
}

/** Signs a WIT-SVID for any workload of the trust domain, as an operator asks for it. */
export async function mintWitSvid(
  parts: WitSvidParts,
  request: MintWITSVIDRequest,
  context: CallContext,
): Promise<MintWITSVIDResponse> {
  const { audit, log } = apiCall(context);
  checkWitEnabled(parts);
  audit.add({ ttl: request.ttl });
  const id = readWorkloadId(parts, request);
  audit.add({ spiffe_id: id.toString() });
  const key = readKey(request, "invalid public key");
  const svid = await signWitSvid(parts, { id, ...key, ttlSeconds: request.ttl });
  log.debug("Signed WIT-SVID", { spiffe_id: id.toString(), expiration: isoTime(svid.expiresAt) });
  return { svid };
}

/** Signs a WIT-SVID for each of the entries the calling agent named, as far as they are its own. */
export async function batchNewWitSvid(
  parts: WitSvidParts,
  { params }: BatchNewWITSVIDRequest,
  context: CallContext,
): Promise<BatchNewWITSVIDResponse> {
  const call = apiCall(context);
  checkWitEnabled(parts);
  if (params.length === 0) throw invalidArgument("missing parameters");
  const refusal = "rejecting request due to certificate signing rate limiting";
  await waitForTurn(parts.limits.witSigning, context, params.length, refusal);
  const agentId = callerId(call).toString();
  const results = await eachItem(params, (param) =>
    batchItem<BatchNewWITSVIDResponse_Result>(
      call,
      async () => ({ status: okStatus(), svid: await newWitSvid(parts, param, agentId) }),
      (status) => ({ status, svid: undefined }),
      ({ svid }) => ({
        entry_id: param.entryId,
        spiffe_id: parts.authorized.authorizedEntry(agentId, param.entryId)?.spiffeId.toString(),
        expires_at: svid && momentField(svid.expiresAt),
      }),
    ),
  );
  return { results };
}

async function newWitSvid(
  parts: WitSvidParts,
  param: NewWITSVIDParams,
  agentId: string,
): Promise<WITSVID> {
  if (param.entryId === "") throw invalidArgument("missing entry ID");
  if (param.publicKey.length === 0) throw invalidArgument("missing public key");
  const entry = parts.authorized.authorizedEntry(agentId, param.entryId);
  if (entry === undefined) throw unknownEntry();
  const key = readKey(param, "malformed public key");
  // As the reference: entries have no TTL of their own for WIT-SVIDs.
  return await signWitSvid(parts, { id: entry.spiffeId, ...key, ttlSeconds: entry.x509SvidTtl });
}

function checkWitEnabled({ witSvidsEnabled }: WitSvidParts): void {
  if (!witSvidsEnabled) {
    throw new StatusError(StatusCode.UNIMPLEMENTED, "WIT functionality is disabled");
  }
}

function readWorkloadId({ trustDomain }: WitSvidParts, { id }: MintWITSVIDRequest): SpiffeId {
  try {
    return workloadIdFrom(trustDomain, id);
  } catch (error) {
    throw invalidArgument("invalid SPIFFE ID", error);
  }
}

interface WorkloadKey {
  readonly publicKey: KeyObject;
  readonly algorithm: string;
}

/** @param malformed what the caller reads when its public key is none @throws StatusError INVALID_ARGUMENT */
function readKey(
  given: { readonly publicKey: Uint8Array; readonly signingAlgorithm: string },
  malformed: string,
): WorkloadKey {
  const publicKey = reading(malformed, () => readPublicKey(given.publicKey));
  reading("invalid signing algorithm or key type", () =>
    checkSigningAlgorithm(publicKey, given.signingAlgorithm),
  );
  return { publicKey, algorithm: given.signingAlgorithm };
}

function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw invalidArgument(what, error);
  }
}

async function signWitSvid(
  { ca }: WitSvidParts,
  fields: Parameters<CaManager["witSvid"]>[0],
): Promise<WITSVID> {
  const svid = await attempt("failed to sign WIT-SVID", () => ca.witSvid(fields));
  return witSvidMessage(fields.id, svid);
}
