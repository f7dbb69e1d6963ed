/** The bundles of other trust domains, as operators keep them. */
import {
  type BatchCreateFederatedBundleRequest,
  type BatchCreateFederatedBundleResponse,
  type BatchDeleteFederatedBundleRequest,
  BatchDeleteFederatedBundleRequest_Mode,
  type BatchDeleteFederatedBundleResponse,
  type BatchSetFederatedBundleRequest,
  type BatchSetFederatedBundleResponse,
  type BatchUpdateFederatedBundleRequest,
  type BatchUpdateFederatedBundleResponse,
  type GetFederatedBundleRequest,
  type ListFederatedBundlesRequest,
  type ListFederatedBundlesResponse,
} from "#proto/spire/api/server/bundle/v1/bundle.ts";
import type { BundleMask, Bundle as BundleMessage } from "#proto/spire/api/types/bundle.ts";
import type { Status } from "#proto/spire/api/types/status.ts";
import { type ApiCall, attempt, batchItem } from "#server/api/call/api-call.ts";
import type { BundleDeleteMode, Bundles } from "#server/datastore/datastore.ts";
import { codeOf, failure, invalidArgument, okStatus } from "#server/message/failure.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { bundleFrom, bundleMessage } from "./convert-bundle.ts";

export interface FederatedBundleParts {
  readonly trustDomain: TrustDomain;
  readonly bundles: Bundles;
}

interface BundleResult {
  status: Status | undefined;
  bundle: BundleMessage | undefined;
}

export async function listFederatedBundles(
  { bundles, trustDomain }: FederatedBundleParts,
  { pageSize, pageToken, outputMask }: ListFederatedBundlesRequest,
): Promise<ListFederatedBundlesResponse> {
  const page = pageSize > 0 ? { size: pageSize, token: pageToken } : { size: 0, token: "" };
  const listing = await attempt(
    "failed to list bundles",
    () => bundles.list(page),
    StatusCode.INTERNAL,
  );
  return {
    bundles: listing.items
      .filter((bundle) => !bundle.trustDomain.equals(trustDomain))
      .map((bundle) => bundleMessage(bundle, outputMask)),
    nextPageToken: listing.nextToken,
  };
}

export async function getFederatedBundle(
  parts: FederatedBundleParts,
  request: GetFederatedBundleRequest,
  { audit }: ApiCall,
): Promise<BundleMessage> {
  audit.add({ trust_domain_id: request.trustDomain });
  const name = foreignTrustDomain(
    parts,
    request.trustDomain,
    "getting a federated bundle for the server's own trust domain is not allowed",
  ).name;
  const bundle = await attempt("failed to fetch bundle", () => parts.bundles.find(name));
  if (bundle === undefined) throw new StatusError(StatusCode.NOT_FOUND, "bundle not found");
  return bundleMessage(bundle, request.outputMask);
}

export async function batchCreateFederatedBundle(
  parts: FederatedBundleParts,
  { bundle: messages, outputMask }: BatchCreateFederatedBundleRequest,
  call: ApiCall,
): Promise<BatchCreateFederatedBundleResponse> {
  const create = async (message: BundleMessage): Promise<Bundle> => {
    const bundle = readForeignBundle(parts, message, "creating");
    try {
      await parts.bundles.create(bundle);
      return bundle;
    } catch (error) {
      if (codeOf(error) === StatusCode.ALREADY_EXISTS) {
        throw new StatusError(StatusCode.ALREADY_EXISTS, "bundle already exists");
      }
      throw failure(StatusCode.INTERNAL, "unable to create bundle", error);
    }
  };
  return { results: await eachBundle(call, messages, outputMask, create) };
}

export async function batchSetFederatedBundle(
  parts: FederatedBundleParts,
  { bundle: messages, outputMask }: BatchSetFederatedBundleRequest,
  call: ApiCall,
): Promise<BatchSetFederatedBundleResponse> {
  const set = async (message: BundleMessage): Promise<Bundle> => {
    const bundle = readForeignBundle(parts, message, "setting");
    await attempt("failed to set bundle", () => parts.bundles.set(bundle), StatusCode.INTERNAL);
    call.log.info("Bundle set successfully", { trust_domain_id: bundle.trustDomain.name });
    return bundle;
  };
  return { results: await eachBundle(call, messages, outputMask, set) };
}

export async function batchUpdateFederatedBundle(
  parts: FederatedBundleParts,
  { bundle: messages, inputMask, outputMask }: BatchUpdateFederatedBundleRequest,
  call: ApiCall,
): Promise<BatchUpdateFederatedBundleResponse> {
  const update = async (message: BundleMessage): Promise<Bundle> => {
    const bundle = readForeignBundle(parts, message, "updating");
    try {
      return await parts.bundles.update(bundle.trustDomain.name, (stored) =>
        masked(stored, bundle, inputMask),
      );
    } catch (error) {
      if (codeOf(error) === StatusCode.NOT_FOUND) {
        throw failure(StatusCode.NOT_FOUND, "bundle not found", error);
      }
      throw failure(StatusCode.INTERNAL, "failed to update bundle", error);
    }
  };
  return { results: await eachBundle(call, messages, outputMask, update) };
}

export async function batchDeleteFederatedBundle(
  parts: FederatedBundleParts,
  { trustDomains, mode: wireMode }: BatchDeleteFederatedBundleRequest,
  call: ApiCall,
): Promise<BatchDeleteFederatedBundleResponse> {
  const mode = deleteModeFrom(wireMode);
  const results: BatchDeleteFederatedBundleResponse["results"] = [];
  for (const trustDomain of trustDomains) {
    const remove = async (): Promise<BatchDeleteFederatedBundleResponse["results"][number]> => {
      await deleteFederatedBundle(parts, trustDomain, mode);
      return { status: okStatus(), trustDomain };
    };
    results.push(
      await batchItem(
        call,
        remove,
        (status) => ({ status, trustDomain }),
        () => ({ trust_domain_id: trustDomain, mode }),
      ),
    );
  }
  return { results };
}

async function deleteFederatedBundle(
  parts: FederatedBundleParts,
  text: string,
  mode: BundleDeleteMode,
): Promise<void> {
  const { name } = foreignTrustDomain(
    parts,
    text,
    "removing the bundle for the server trust domain is not allowed",
  );
  try {
    await parts.bundles.delete(name, mode);
  } catch (error) {
    if (codeOf(error) === StatusCode.NOT_FOUND) {
      throw failure(StatusCode.NOT_FOUND, "bundle not found", error);
    }
    // Scripts match on the whole of the reference's text, in which its store names itself.
    const words = codeOf(error) === StatusCode.FAILED_PRECONDITION ? ": datastore-sql" : "";
    throw failure(codeOf(error), `failed to delete federated bundle${words}`, error);
  }
}

async function eachBundle(
  call: ApiCall,
  messages: readonly BundleMessage[],
  outputMask: BundleMask | undefined,
  write: (message: BundleMessage) => Promise<Bundle>,
): Promise<BundleResult[]> {
  const results: BundleResult[] = [];
  for (const message of messages) {
    const result = await batchItem<BundleResult>(
      call,
      async () => ({
        status: okStatus(),
        bundle: bundleMessage(await write(message), outputMask),
      }),
      (status) => ({ status, bundle: undefined }),
      () => ({ trust_domain_id: message.trustDomain }),
    );
    results.push(result);
  }
  return results;
}

/** The server's own bundle is kept by its CA; through this door it would be replaced behind the CA's back. */
function readForeignBundle(
  parts: FederatedBundleParts,
  message: BundleMessage,
  doing: string,
): Bundle {
  foreignTrustDomain(
    parts,
    message.trustDomain,
    `${doing} a federated bundle for the server's own trust domain is not allowed`,
  );
  try {
    return bundleFrom(message);
  } catch (error) {
    throw invalidArgument("failed to convert bundle", error);
  }
}

function foreignTrustDomain(
  { trustDomain: own }: FederatedBundleParts,
  text: string,
  refusal: string,
): TrustDomain {
  const trustDomain = readTrustDomain(text);
  if (trustDomain.equals(own)) throw invalidArgument(refusal);
  return trustDomain;
}

function readTrustDomain(text: string): TrustDomain {
  try {
    return TrustDomain.parse(text);
  } catch (error) {
    throw invalidArgument("trust domain argument is not valid", error);
  }
}

function masked(stored: Bundle, given: Bundle, mask: BundleMask | undefined): Bundle {
  if (mask === undefined) return given;
  return {
    trustDomain: stored.trustDomain,
    x509Authorities: (mask.x509Authorities ? given : stored).x509Authorities,
    jwtAuthorities: (mask.jwtAuthorities ? given : stored).jwtAuthorities,
    witAuthorities: stored.witAuthorities,
    refreshHint: (mask.refreshHint ? given : stored).refreshHint,
    sequenceNumber: (mask.sequenceNumber ? given : stored).sequenceNumber,
  };
}

function deleteModeFrom(mode: BatchDeleteFederatedBundleRequest_Mode): BundleDeleteMode {
  switch (mode) {
    case BatchDeleteFederatedBundleRequest_Mode.RESTRICT:
      return "restrict";
    case BatchDeleteFederatedBundleRequest_Mode.DELETE:
      return "delete";
    case BatchDeleteFederatedBundleRequest_Mode.DISSOCIATE:
      return "dissociate";
    default:
      throw invalidArgument(`failed to parse deletion mode: unhandled delete mode "${mode}"`);
  }
}
