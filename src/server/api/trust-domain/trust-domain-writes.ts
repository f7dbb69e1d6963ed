/** What operators change about the relationships with other trust domains, item by item. */
import type {
  BatchCreateFederationRelationshipRequest,
  BatchCreateFederationRelationshipResponse,
  BatchDeleteFederationRelationshipRequest,
  BatchDeleteFederationRelationshipResponse,
  BatchDeleteFederationRelationshipResponse_Result,
  BatchUpdateFederationRelationshipRequest,
  BatchUpdateFederationRelationshipResponse,
} from "#proto/spire/api/server/trustdomain/v1/trustdomain.ts";
import type {
  FederationRelationshipMask,
  FederationRelationship as RelationshipMessage,
} from "#proto/spire/api/types/federationrelationship.ts";
import type { Status } from "#proto/spire/api/types/status.ts";
import { type ApiCall, attempt, batchItem } from "#server/api/call/api-call.ts";
import type { Bundles, FederationRelationships } from "#server/datastore/datastore.ts";
import { codeOf, failure, invalidArgument, okStatus } from "#server/message/failure.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import type { FederationRelationship } from "#spiffe/federation-relationship.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { relationshipFrom, relationshipMessage } from "./convert-federation-relationship.ts";
import { relationshipAuditFields } from "./trust-domain-audit.ts";

export interface RelationshipParts {
  readonly trustDomain: TrustDomain;
  readonly relationships: FederationRelationships;
  readonly bundles: Bundles;
}

interface RelationshipResult {
  status: Status | undefined;
  federationRelationship: RelationshipMessage | undefined;
}

export async function batchCreateFederationRelationship(
  parts: RelationshipParts,
  { federationRelationships: messages, outputMask }: BatchCreateFederationRelationshipRequest,
  call: ApiCall,
): Promise<BatchCreateFederationRelationshipResponse> {
  const create = async (message: RelationshipMessage): Promise<RelationshipMessage> => {
    const { relationship, bundle } = readRelationship(message);
    if (relationship.trustDomain.equals(parts.trustDomain)) {
      throw invalidArgument("unable to create federation relationship for server trust domain");
    }
    await attempt(
      "failed to create federation relationship",
      () => parts.relationships.create(relationship, bundle),
      StatusCode.INTERNAL,
    );
    await warnWithoutEndpointBundle(parts, relationship, bundle, call);
    return relationshipMessage(relationship, bundle, outputMask);
  };
  return { results: await eachRelationship(call, messages, undefined, create) };
}

export async function batchUpdateFederationRelationship(
  parts: RelationshipParts,
  request: BatchUpdateFederationRelationshipRequest,
  call: ApiCall,
): Promise<BatchUpdateFederationRelationshipResponse> {
  const { federationRelationships: messages, inputMask, outputMask } = request;
  const update = async (message: RelationshipMessage): Promise<RelationshipMessage> => {
    // All of it is checked, whatever the mask names, as the reference does.
    const { relationship, bundle } = readRelationship(message);
    const { name } = relationship.trustDomain;
    const [updated, stored] = await attempt(
      "failed to update federation relationship",
      async () =>
        [
          await parts.relationships
            .update(name, ...masked(relationship, bundle, inputMask))
            .catch((error: unknown) => Promise.reject(inWordsOfTheReference(error))),
          await parts.bundles.find(name),
        ] as const,
      StatusCode.INTERNAL,
    );
    await warnWithoutEndpointBundle(parts, updated, stored, call);
    return relationshipMessage(updated, stored, outputMask);
  };
  return { results: await eachRelationship(call, messages, inputMask, update) };
}

export async function batchDeleteFederationRelationship(
  parts: RelationshipParts,
  { trustDomains }: BatchDeleteFederationRelationshipRequest,
  call: ApiCall,
): Promise<BatchDeleteFederationRelationshipResponse> {
  const results: BatchDeleteFederationRelationshipResponse_Result[] = [];
  for (const text of trustDomains) {
    let trustDomain = text;
    const remove = async (): Promise<BatchDeleteFederationRelationshipResponse_Result> => {
      trustDomain = readTrustDomain(text).name;
      await deleteRelationship(parts, trustDomain);
      return { status: okStatus(), trustDomain };
    };
    results.push(
      await batchItem(
        call,
        remove,
        (status) => ({ status, trustDomain }),
        () => ({ trust_domain_id: text }),
      ),
    );
  }
  return { results };
}

async function deleteRelationship(
  { relationships }: RelationshipParts,
  trustDomain: string,
): Promise<void> {
  try {
    await relationships.delete(trustDomain);
  } catch (error) {
    if (codeOf(error) === StatusCode.NOT_FOUND) {
      throw new StatusError(StatusCode.NOT_FOUND, "federation relationship not found");
    }
    throw failure(StatusCode.INTERNAL, "failed to delete federation relationship", error);
  }
}

async function eachRelationship(
  call: ApiCall,
  messages: readonly RelationshipMessage[],
  inputMask: FederationRelationshipMask | undefined,
  write: (message: RelationshipMessage) => Promise<RelationshipMessage>,
): Promise<RelationshipResult[]> {
  const results: RelationshipResult[] = [];
  for (const message of messages) {
    const result = await batchItem<RelationshipResult>(
      call,
      async () => ({ status: okStatus(), federationRelationship: await write(message) }),
      (status) => ({ status, federationRelationship: undefined }),
      () => relationshipAuditFields(message, inputMask),
    );
    results.push(result);
  }
  return results;
}

function readRelationship(message: RelationshipMessage): ReturnType<typeof relationshipFrom> {
  try {
    return relationshipFrom(message);
  } catch (error) {
    throw invalidArgument("failed to convert federation relationship", error);
  }
}

function readTrustDomain(text: string): TrustDomain {
  if (text === "") throw invalidArgument("missing trust domain");
  try {
    return TrustDomain.parse(text);
  } catch (error) {
    throw invalidArgument("failed to parse trust domain", error);
  }
}

/** An update of what is not there is INTERNAL at the reference, so only its text tells a script what is wrong. */
function inWordsOfTheReference(error: unknown): unknown {
  if (codeOf(error) !== StatusCode.NOT_FOUND) return error;
  const words = "unable to fetch federation relationship: record not found";
  return new StatusError(StatusCode.NOT_FOUND, words, { cause: error });
}

function masked(
  { bundleEndpointUrl, profile }: FederationRelationship,
  bundle: Bundle | undefined,
  mask: FederationRelationshipMask | undefined,
): [Parameters<FederationRelationships["update"]>[1], Bundle | undefined] {
  if (mask === undefined) return [{ bundleEndpointUrl, profile }, bundle];
  const change = {
    ...(mask.bundleEndpointUrl ? { bundleEndpointUrl } : {}),
    ...(mask.bundleEndpointProfile ? { profile } : {}),
  };
  return [change, mask.trustDomainBundle ? bundle : undefined];
}

/** Without the bundle of the endpoint's trust domain nothing can be fetched: whoever made the relationship wants to know. */
async function warnWithoutEndpointBundle(
  { bundles }: RelationshipParts,
  { profile }: FederationRelationship,
  bundle: Bundle | undefined,
  { log }: ApiCall,
): Promise<void> {
  if (bundle !== undefined || profile.kind !== "https_spiffe") return;
  const id = profile.endpointSpiffeId;
  const found = await bundles.find(id.trustDomain.name).catch(() => undefined);
  if (found === undefined) {
    log.warn("bundle not found for the endpoint SPIFFE ID trust domain", {
      endpoint_spiffe_id: id.toString(),
    });
  }
}
