/** The TrustDomain service: operators keep the relationships with other trust domains. */
import { type BoundService, bindService, type CallContext } from "#grpc/bind.ts";
import type { Empty } from "#proto/google/protobuf/empty.ts";
import {
  type BatchCreateFederationRelationshipRequest,
  type BatchDeleteFederationRelationshipRequest,
  type BatchUpdateFederationRelationshipRequest,
  type GetFederationRelationshipRequest,
  type ListFederationRelationshipsRequest,
  type ListFederationRelationshipsResponse,
  type RefreshBundleRequest,
  TrustDomainService,
} from "#proto/spire/api/server/trustdomain/v1/trustdomain.ts";
import type { FederationRelationship } from "#proto/spire/api/types/federationrelationship.ts";
import { type ApiCall, apiCall, attempt } from "#server/api/call/api-call.ts";
import { audited } from "#server/api/call/audited.ts";
import type { ServiceOptions } from "#server/api/call/guard.ts";
import { invalidArgument } from "#server/message/failure.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { relationshipMessage } from "./convert-federation-relationship.ts";
import {
  batchCreateFederationRelationship,
  batchDeleteFederationRelationship,
  batchUpdateFederationRelationship,
  type RelationshipParts,
} from "./trust-domain-writes.ts";

/** What fetches bundles. */
export interface BundleRefresh {
  /**
   * Fetches the bundle of a trust domain now.
   *
   * @returns false when there is no relationship with it
   * @throws StatusError saying why the bundle is not to be had
   */
  refresh(trustDomain: TrustDomain): Promise<boolean>;
}

export interface TrustDomainServiceParts extends RelationshipParts {
  readonly refresher: BundleRefresh;
}

export function createTrustDomainService(
  parts: TrustDomainServiceParts,
  options: ServiceOptions,
): BoundService {
  return bindService(
    TrustDomainService,
    audited({
      listFederationRelationships: (request: ListFederationRelationshipsRequest) =>
        listFederationRelationships(parts, request),
      getFederationRelationship: (
        request: GetFederationRelationshipRequest,
        context: CallContext,
      ) => getFederationRelationship(parts, request, apiCall(context)),
      batchCreateFederationRelationship: (
        request: BatchCreateFederationRelationshipRequest,
        context: CallContext,
      ) => batchCreateFederationRelationship(parts, request, apiCall(context)),
      batchUpdateFederationRelationship: (
        request: BatchUpdateFederationRelationshipRequest,
        context: CallContext,
      ) => batchUpdateFederationRelationship(parts, request, apiCall(context)),
      batchDeleteFederationRelationship: (
        request: BatchDeleteFederationRelationshipRequest,
        context: CallContext,
      ) => batchDeleteFederationRelationship(parts, request, apiCall(context)),
      refreshBundle: (request: RefreshBundleRequest, context: CallContext) =>
        refreshBundle(parts, request, apiCall(context)),
    }),
    options,
  );
}

async function listFederationRelationships(
  { relationships, bundles }: TrustDomainServiceParts,
  { pageSize, pageToken, outputMask }: ListFederationRelationshipsRequest,
): Promise<ListFederationRelationshipsResponse> {
  const page = pageSize > 0 ? { size: pageSize, token: pageToken } : { size: 0, token: "" };
  return await attempt(
    "failed to list federation relationships",
    async () => {
      const { items, nextToken } = await relationships.list(page);
      const federationRelationships: FederationRelationship[] = [];
      for (const relationship of items) {
        const bundle = await bundles.find(relationship.trustDomain.name);
        federationRelationships.push(relationshipMessage(relationship, bundle, outputMask));
      }
      return { federationRelationships, nextPageToken: nextToken };
    },
    StatusCode.INTERNAL,
  );
}

async function getFederationRelationship(
  { relationships, bundles }: TrustDomainServiceParts,
  request: GetFederationRelationshipRequest,
  { audit }: ApiCall,
): Promise<FederationRelationship> {
  audit.add({ trust_domain_id: request.trustDomain });
  const { name } = readTrustDomain(request.trustDomain);
  const [relationship, bundle] = await attempt(
    "failed to fetch federation relationship",
    () => Promise.all([relationships.find(name), bundles.find(name)]),
    StatusCode.INTERNAL,
  );
  if (relationship === undefined) {
    throw new StatusError(StatusCode.NOT_FOUND, "federation relationship does not exist");
  }
  return relationshipMessage(relationship, bundle, request.outputMask);
}

async function refreshBundle(
  { refresher }: TrustDomainServiceParts,
  request: RefreshBundleRequest,
  { audit, log }: ApiCall,
): Promise<Empty> {
  audit.add({ trust_domain_id: request.trustDomain });
  const trustDomain = readTrustDomain(request.trustDomain);
  const known = await attempt(
    "failed to refresh bundle",
    () => refresher.refresh(trustDomain),
    StatusCode.INTERNAL,
  );
  if (!known) {
    throw new StatusError(
      StatusCode.NOT_FOUND,
      `no relationship with trust domain "${trustDomain}"`,
    );
  }
  log.debug("Bundle refreshed", { trust_domain_id: trustDomain.name });
  return {};
}

function readTrustDomain(text: string): TrustDomain {
  try {
    return TrustDomain.parse(text);
  } catch (error) {
    throw invalidArgument("failed to parse trust domain", error);
  }
}
