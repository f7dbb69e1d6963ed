/** The SVID service: operators mint SVIDs, agents get those of their entries, downstream servers their CA. */
import { createHash } from "node:crypto";
import { type BoundService, bindService, type CallContext } from "#grpc/bind.ts";
import {
  type BatchNewWITSVIDRequest,
  type BatchNewX509SVIDRequest,
  type MintJWTSVIDRequest,
  type MintJWTSVIDResponse,
  type MintWITSVIDRequest,
  type MintX509SVIDRequest,
  type MintX509SVIDResponse,
  type NewDownstreamX509CARequest,
  type NewDownstreamX509CAResponse,
  type NewJWTSVIDRequest,
  SVIDService,
} from "#proto/spire/api/server/svid/v1/svid.ts";
import { type ApiCall, apiCall, attempt, waitForTurn } from "#server/api/call/api-call.ts";
import { audited } from "#server/api/call/audited.ts";
import type { ServiceOptions } from "#server/api/call/guard.ts";
import type { CaManager } from "#server/ca/ca-manager.ts";
import type { Bundles } from "#server/datastore/datastore.ts";
import { checkWorkloadId, workloadIdFrom } from "#server/message/convert-id.ts";
import { x509SvidMessage } from "#server/message/convert-svid.ts";
import { checkedCsr } from "#server/message/csr.ts";
import { dnsNameProblem, wildcardOverlap } from "#server/message/dns-name.ts";
import { invalidArgument } from "#server/message/failure.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Csr } from "#x509/csr.ts";
import { momentField } from "#x509/iso-time.ts";
import { batchNewWitSvid, mintWitSvid, type WitSvidParts } from "./wit-svid.ts";
import {
  batchNewX509Svid,
  checkJwtEnabled,
  newJwtSvid,
  signJwtSvid,
  type WorkloadSvidParts,
} from "./workload-svid.ts";

export interface SvidServiceParts extends WorkloadSvidParts, WitSvidParts {
  readonly ca: CaManager;
  readonly bundles: Bundles;
}

export function createSvidService(parts: SvidServiceParts, options: ServiceOptions): BoundService {
  return bindService(
    SVIDService,
    audited({
      mintX509Svid: (request: MintX509SVIDRequest, context: CallContext) =>
        mintX509Svid(parts, request, apiCall(context)),
      mintJwtsvid: (request: MintJWTSVIDRequest, context: CallContext) =>
        mintJwtSvid(parts, request, apiCall(context)),
      mintWitsvid: (request: MintWITSVIDRequest, context: CallContext) =>
        mintWitSvid(parts, request, context),
      batchNewX509Svid: (request: BatchNewX509SVIDRequest, context: CallContext) =>
        batchNewX509Svid(parts, request, context),
      newJwtsvid: (request: NewJWTSVIDRequest, context: CallContext) =>
        newJwtSvid(parts, request, context),
      batchNewWitsvid: (request: BatchNewWITSVIDRequest, context: CallContext) =>
        batchNewWitSvid(parts, request, context),
      newDownstreamX509Ca: (request: NewDownstreamX509CARequest, context: CallContext) =>
        newDownstreamX509Ca(parts, request, context),
    }),
    options,
  );
}

async function mintX509Svid(
  parts: SvidServiceParts,
  { csr: csrDer, ttl }: MintX509SVIDRequest,
  { audit, log }: ApiCall,
): Promise<MintX509SVIDResponse> {
  audit.add({ csr: fingerprint(csrDer), ttl });
  if (csrDer.length === 0) throw invalidArgument("missing CSR");
  const csr = await checkedCsr(csrDer, {
    malformed: "malformed CSR",
    badSignature: "failed to verify CSR signature",
  });
  const id = requestedId(parts, csr);
  const dnsNames = requestedDnsNames(csr);
  const svid = await attempt("failed to sign X509-SVID", () =>
    parts.ca.x509Svid({
      id,
      publicKeySpki: csr.publicKeySpki,
      publicKey: csr.publicKey,
      ttlSeconds: ttl,
      dnsNames,
      subjectDer: csr.subjectDer,
    }),
  );
  const fields = { spiffe_id: id.toString(), dns_name: dnsNames.join(",") };
  audit.add({ ...fields, expires_at: momentField(svid.expiresAt) });
  log.debug("Signed X509 SVID", { ...fields, serial_num: svid.serialNumber });
  return { svid: x509SvidMessage(svid) };
}

function requestedId({ trustDomain }: SvidServiceParts, csr: Csr): SpiffeId {
  const [uri, ...others] = csr.uriSans;
  if (uri === undefined) throw invalidArgument("CSR URI SAN is required");
  if (others.length > 0) throw invalidArgument("only one URI SAN is expected");
  try {
    const id = SpiffeId.parse(uri);
    checkWorkloadId(trustDomain, id);
    return id;
  } catch (error) {
    throw invalidArgument("CSR URI SAN is invalid", error);
  }
}

function requestedDnsNames({ dnsSans }: Csr): string[] {
  for (const name of dnsSans) {
    const problem = dnsNameProblem(name);
    if (problem !== undefined) throw invalidArgument(`CSR DNS name is invalid: ${problem}`);
  }
  const covered = wildcardOverlap(dnsSans);
  if (covered !== undefined) {
    throw invalidArgument(
      `CSR DNS name contains a wildcard that covers another non-wildcard name: name ${JSON.stringify(covered)} overlaps with an existing wildcard name in the list: wildcard overlap`,
    );
  }
  return [...dnsSans];
}

async function mintJwtSvid(
  parts: SvidServiceParts,
  { id: idMessage, audience, ttl }: MintJWTSVIDRequest,
  call: ApiCall,
): Promise<MintJWTSVIDResponse> {
  checkJwtEnabled(parts);
  call.audit.add({ ttl, audience: audience.join(",") });
  const id = readWorkloadId(parts, idMessage);
  call.audit.add({ spiffe_id: id.toString() });
  return { svid: await signJwtSvid(parts, { id, audience, ttl, includeJti: false }) };
}

function readWorkloadId(
  { trustDomain }: SvidServiceParts,
  message: MintJWTSVIDRequest["id"],
): SpiffeId {
  try {
    return workloadIdFrom(trustDomain, message);
  } catch (error) {
    throw invalidArgument("invalid SPIFFE ID", error);
  }
}

async function newDownstreamX509Ca(
  parts: SvidServiceParts,
  { csr: csrDer, preferredTtl }: NewDownstreamX509CARequest,
  context: CallContext,
): Promise<NewDownstreamX509CAResponse> {
  const { audit, downstreamEntries } = apiCall(context);
  audit.add({ csr: fingerprint(csrDer), trust_domain_id: parts.trustDomain.id });
  const refusal = "rejecting request due to downstream CA signing rate limit";
  await waitForTurn(parts.limits.x509Signing, context, 1, refusal);
  if (downstreamEntries.length === 0) {
    throw new StatusError(StatusCode.INTERNAL, "caller is not a downstream workload");
  }
  const csr = await checkedCsr(csrDer, {
    malformed: "malformed CSR",
    badSignature: "invalid CSR signature",
  });
  const ca = await attempt("failed to sign downstream X.509 CA", () =>
    parts.ca.downstreamCa({
      publicKeySpki: csr.publicKeySpki,
      publicKey: csr.publicKey,
      ttlSeconds: preferredTtl,
    }),
  );
  audit.add({ expires_at: momentField(ca.expiresAt) });
  const bundle = await attempt("failed to fetch bundle", () =>
    parts.bundles.find(parts.trustDomain.name),
  );
  if (bundle === undefined) throw new StatusError(StatusCode.NOT_FOUND, "bundle not found");
  return {
    caCertChain: [...ca.chain],
    x509Authorities: bundle.x509Authorities.map(({ certificate }) => certificate),
  };
}

function fingerprint(bytes: Uint8Array): string {
  return bytes.length === 0 ? "" : createHash("sha256").update(bytes).digest("hex");
}
