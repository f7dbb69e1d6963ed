/** The Bundle service: the server's own trust bundle, and those of the trust domains it federates with. */
import { type BoundService, bindService, type CallContext } from "#grpc/bind.ts";
import {
  type AppendBundleRequest,
  type BatchCreateFederatedBundleRequest,
  type BatchDeleteFederatedBundleRequest,
  type BatchSetFederatedBundleRequest,
  type BatchUpdateFederatedBundleRequest,
  BundleService,
  type CountBundlesRequest,
  type CountBundlesResponse,
  type GetBundleRequest,
  type GetFederatedBundleRequest,
  type ListFederatedBundlesRequest,
  type PublishJWTAuthorityRequest,
  type PublishJWTAuthorityResponse,
} from "#proto/spire/api/server/bundle/v1/bundle.ts";
import type { Bundle as BundleMessage } from "#proto/spire/api/types/bundle.ts";
import { type ApiCall, apiCall, attempt, waitForTurn } from "#server/api/call/api-call.ts";
import { audited } from "#server/api/call/audited.ts";
import type { ServiceOptions } from "#server/api/call/guard.ts";
import type { RateLimits } from "#server/api/call/rate-limit.ts";
import type { CaManager } from "#server/ca/ca-manager.ts";
import { codeOf, failure, invalidArgument } from "#server/message/failure.ts";
import { checkKeyId, emptyBundle } from "#spiffe/bundle.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { authorityFields, jwtAuthorityFields } from "./bundle-audit.ts";
import {
  bundleMessage,
  jwtAuthoritiesFrom,
  keyMessages,
  x509AuthoritiesFrom,
} from "./convert-bundle.ts";
import {
  batchCreateFederatedBundle,
  batchDeleteFederatedBundle,
  batchSetFederatedBundle,
  batchUpdateFederatedBundle,
  type FederatedBundleParts,
  getFederatedBundle,
  listFederatedBundles,
} from "./federated-bundle.ts";

export interface BundleServiceParts extends FederatedBundleParts {
  readonly limits: RateLimits;
  readonly ca: Pick<CaManager, "publishJwtKey">;
}

export function createBundleService(
  parts: BundleServiceParts,
  options: ServiceOptions,
): BoundService {
  return bindService(
    BundleService,
    audited({
      countBundles: (_request: CountBundlesRequest) => countBundles(parts),
      getBundle: (request: GetBundleRequest, context: CallContext) =>
        getBundle(parts, request, apiCall(context)),
      appendBundle: (request: AppendBundleRequest, context: CallContext) =>
        appendBundle(parts, request, apiCall(context)),
      publishJwtAuthority: (request: PublishJWTAuthorityRequest, context: CallContext) =>
        publishJwtAuthority(parts, request, context),
      publishWitAuthority: () => refuseWit(),
      listFederatedBundles: (request: ListFederatedBundlesRequest) =>
        listFederatedBundles(parts, request),
      getFederatedBundle: (request: GetFederatedBundleRequest, context: CallContext) =>
        getFederatedBundle(parts, request, apiCall(context)),
      batchCreateFederatedBundle: (
        request: BatchCreateFederatedBundleRequest,
        context: CallContext,
      ) => batchCreateFederatedBundle(parts, request, apiCall(context)),
      batchUpdateFederatedBundle: (
        request: BatchUpdateFederatedBundleRequest,
        context: CallContext,
      ) => batchUpdateFederatedBundle(parts, request, apiCall(context)),
      batchSetFederatedBundle: (request: BatchSetFederatedBundleRequest, context: CallContext) =>
        batchSetFederatedBundle(parts, request, apiCall(context)),
      batchDeleteFederatedBundle: (
        request: BatchDeleteFederatedBundleRequest,
        context: CallContext,
      ) => batchDeleteFederatedBundle(parts, request, apiCall(context)),
    }),
    options,
  );
}

/** Counts the server's own bundle too, as the reference does. */
async function countBundles({ bundles }: BundleServiceParts): Promise<CountBundlesResponse> {
  return { count: await attempt("failed to count bundles", () => bundles.count()) };
}

async function getBundle(
  { bundles, trustDomain }: BundleServiceParts,
  { outputMask }: GetBundleRequest,
  { audit }: ApiCall,
): Promise<BundleMessage> {
  audit.add({ trust_domain_id: trustDomain.name });
  const bundle = await attempt("failed to fetch bundle", () => bundles.find(trustDomain.name));
  if (bundle === undefined) throw new StatusError(StatusCode.NOT_FOUND, "bundle not found");
  return bundleMessage(bundle, outputMask);
}

async function appendBundle(
  { bundles, trustDomain }: BundleServiceParts,
  { x509Authorities, jwtAuthorities, outputMask }: AppendBundleRequest,
  { audit }: ApiCall,
): Promise<BundleMessage> {
  audit.add(authorityFields(x509Authorities, jwtAuthorities));
  if (x509Authorities.length === 0 && jwtAuthorities.length === 0) {
    throw invalidArgument("no authorities to append");
  }
  const addition = {
    ...emptyBundle(trustDomain),
    jwtAuthorities: reading("failed to convert JWT authority", () =>
      jwtAuthoritiesFrom(jwtAuthorities),
    ),
    x509Authorities: reading("failed to convert X.509 authority", () =>
      x509AuthoritiesFrom(x509Authorities),
    ),
  };
  const bundle = await keepingKeyIds("failed to append bundle", async () => {
    const known = (await bundles.find(trustDomain.name))?.jwtAuthorities ?? [];
    for (const key of addition.jwtAuthorities) checkKeyId(key, known);
    const appended = await bundles.append(addition);
    // Another may have come first meanwhile.
    for (const key of addition.jwtAuthorities) checkKeyId(key, appended.jwtAuthorities);
    return appended;
  });
  return bundleMessage(bundle, outputMask);
}

/** What fails is the server's fault, but for a key ID that is another key's: that is told as such. */
async function keepingKeyIds<T>(words: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const isTaken = codeOf(error) === StatusCode.ALREADY_EXISTS;
    throw failure(isTaken ? StatusCode.ALREADY_EXISTS : StatusCode.INTERNAL, words, error);
  }
}

/** A downstream server makes its JWT key known to the whole trust domain. */
async function publishJwtAuthority(
  { ca, limits }: BundleServiceParts,
  { jwtAuthority }: PublishJWTAuthorityRequest,
  context: CallContext,
): Promise<PublishJWTAuthorityResponse> {
  const { audit } = apiCall(context);
  if (jwtAuthority !== undefined) audit.add(jwtAuthorityFields(jwtAuthority));
  const refusal = "rejecting request due to key publishing rate limiting";
  await waitForTurn(limits.keyPublishing, context, 1, refusal);
  if (jwtAuthority === undefined) throw invalidArgument("missing JWT authority");
  const [key] = reading("invalid JWT authority", () => jwtAuthoritiesFrom([jwtAuthority]));
  if (key === undefined) throw invalidArgument("missing JWT authority");
  const bundle = await keepingKeyIds("failed to publish JWT key", () => ca.publishJwtKey(key));
  return { jwtAuthorities: keyMessages(bundle.jwtAuthorities) };
}

async function refuseWit(): Promise<never> {
  throw new StatusError(StatusCode.UNIMPLEMENTED, "WIT-SVID functionality is not yet implemented");
}

function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw invalidArgument(what, error);
  }
}
