/**
 * The SPIFFE Workload API. A caller is attested when a stream begins, by the process the kernel named when it connected; it is served
 * what the cache holds for it, again whenever that changed, and until it has no identity any more.
 */
import { type AttestedCaller, attestCaller, type CallerTools } from "#agent/attestation/caller.ts";
import type { ServerClients } from "#agent/attestation/server-connection.ts";
import { attestationIncomplete } from "#agent/attestation/workload-attestation.ts";
import type { HandedOut } from "#agent/audit/handed-out.ts";
import type { CallerNeed } from "#agent/cache/callers.ts";
import type { Identity, Subscription } from "#agent/cache/subscription.ts";
import { checkOpen, SERVER_AWAY, unavailable, waitsForSvids } from "#agent/cache/waiting.ts";
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type { JwtSvids } from "#agent/sync/jwt-svids.ts";
import { type BoundService, bindService, type CallContext } from "#grpc/bind.ts";
import { type Codec, type Encoded, encodedOnce } from "#grpc/encoded.ts";
import {
  JWTBundlesResponse,
  type JWTSVIDRequest,
  type JWTSVIDResponse,
  SpiffeWorkloadAPIService,
  X509BundlesResponse,
  X509SVIDResponse,
} from "#proto/spiffe/workload/workload.ts";
import { namedAudience } from "#spiffe/audience.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { LeftOutLog } from "./hints.ts";
import type { RefusalLog } from "./refusal-log.ts";
import { createResponses } from "./responses.ts";
import { requireSecurityHeader } from "./security-header.ts";
import { validateJwtSvid } from "./validate-jwt.ts";

export interface WorkloadApiParts extends CallerTools {
  readonly trustDomain: TrustDomain;
  readonly cache: WorkloadCache;
  readonly jwtSvids: JwtSvids;
  /** The present connection; it changes when the agent's SVID does. */
  readonly clients: () => ServerClients;
  readonly allowUnauthenticatedVerifiers: () => boolean;
  readonly allowedForeignJwtClaims: () => readonly string[];
  readonly refusals: RefusalLog;
  readonly handedOut: HandedOut;
}

type Parts = WorkloadApiParts & { readonly leftOut: LeftOutLog };

export function createWorkloadApi(given: WorkloadApiParts): BoundService {
  const parts: Parts = { ...given, leftOut: new LeftOutLog(given.log) };
  const responses = createResponses(parts.cache);
  return bindService(
    SpiffeWorkloadAPIService,
    {
      fetchX509Svid: following(parts, "x509-svids", responses.x509Svids, X509SVIDResponse),
      fetchX509Bundles: following(parts, "bundles", responses.x509Bundles, X509BundlesResponse),
      fetchJwtBundles: following(parts, "bundles", responses.jwtBundles, JWTBundlesResponse),
      fetchJwtsvid: (request, context) => fetchJwtSvid(parts, request, context),
      validateJwtsvid: async (request, context) => {
        await callerIdentities(parts, context, false);
        return validateJwtSvid(parts, request);
      },
      fetchWitsvid: () => notServed("fetching WIT-SVIDs is not implemented"),
      fetchWitBundles: () => notServed("fetching WIT bundles is not implemented"),
    },
    { guard: requireSecurityHeader, log: parts.log },
  );
}

/** As the reference's agent, in its words: WIT-SVIDs are the server's alone so far. */
async function notServed(message: string): Promise<never> {
  throw new StatusError(StatusCode.UNIMPLEMENTED, message);
}

async function callerIdentities(
  parts: WorkloadApiParts,
  context: CallContext,
  needed: boolean,
): Promise<{ readonly caller: AttestedCaller; readonly identities: readonly Identity[] }> {
  const caller = await attestCaller(parts, context);
  const identities = parts.cache.identitiesFor(caller.selectors);
  checkCaller(parts, caller, identities, needed);
  return { caller, identities };
}

/**
 * @param needed whether a caller without any identity is refused in every case
 * @throws StatusError PERMISSION_DENIED when the caller is nobody, or no more; UNAVAILABLE when that cannot be said yet
 */
function checkCaller(
  parts: WorkloadApiParts,
  { peer, selectors, silent, identified }: AttestedCaller,
  identities: readonly Identity[],
  needed: boolean,
): void {
  // The process may have ended while its socket lives on in another.
  if (peer.isAlive()) {
    if (identities.length > 0) {
      identified();
      return;
    }
    if (!parts.cache.isFilled) throw unavailable(SERVER_AWAY);
    if (!needed && parts.allowUnauthenticatedVerifiers()) return;
    if (silent.length > 0) throw attestationIncomplete({ silent });
  }
  parts.refusals.noIdentity(peer, selectors);
  throw new StatusError(StatusCode.PERMISSION_DENIED, "no identity issued");
}

/** A stream whose messages are encoded once: many workloads get the same, and one gets it again whenever it comes back. */
function following<R extends object>(
  parts: Parts,
  need: CallerNeed,
  responseFor: (subscription: Subscription) => R | undefined,
  codec: Codec<R>,
) {
  const encoded = encodedOnce(codec);
  return (
    _request: unknown,
    context: CallContext,
    send: (response: Encoded) => Promise<void>,
  ): Promise<void> =>
    follow(parts, context, need, responseFor, (response) => send(encoded(response)));
}

/** Serves a stream until the caller leaves or loses its identity. */
async function follow<R>(
  parts: Parts,
  context: CallContext,
  need: CallerNeed,
  responseFor: (subscription: Subscription) => R | undefined,
  send: (response: R) => Promise<void>,
): Promise<void> {
  const caller = await attestCaller(parts, context);
  using subscription = parts.cache.subscribe(caller.selectors, need);
  let last: R | undefined;
  while (!context.signal.aborted) {
    checkOpen(parts.cache);
    // Taken before the cache is read, so that a change in between is not missed.
    const { version } = subscription;
    const identities = subscription.identities();
    checkCaller(parts, caller, identities, need === "x509-svids");
    const isWaiting =
      need === "x509-svids" && waitsForSvids(parts.cache, identities, last === undefined);
    const response = isWaiting ? undefined : responseFor(subscription);
    if (response !== undefined && response !== last) {
      await send(response);
      if (need === "x509-svids") {
        const given = parts.leftOut.withoutRepeatedHints(identities);
        parts.handedOut.x509(caller, given, context.method);
      }
    }
    last = response ?? last;
    await subscription.changedSince(version, context.signal);
  }
}

async function fetchJwtSvid(
  parts: Parts,
  request: JWTSVIDRequest,
  context: CallContext,
): Promise<JWTSVIDResponse> {
  const audience = namedAudience(request.audience, "audience must be specified");
  const asked = request.spiffeId === "" ? undefined : parseAsked(request.spiffeId);
  const { caller, identities } = await callerIdentities(parts, context, true);
  const chosen = parts.leftOut
    .withoutRepeatedHints(identities)
    .filter(({ entry }) => asked === undefined || entry.spiffeId.equals(asked));
  if (chosen.length === 0 && caller.silent.length > 0) throw attestationIncomplete(caller);
  if (chosen.length === 0)
    throw new StatusError(StatusCode.PERMISSION_DENIED, "no identity issued");
  const svids = await Promise.all(
    chosen.map(async ({ entry }) => {
      const svid = await parts.jwtSvids.svid(parts.clients().svid, entry, audience);
      parts.handedOut.jwt(caller, entry, { ...svid, audience }, context.method);
      return { spiffeId: entry.spiffeId.toString(), svid: svid.token, hint: entry.hint };
    }),
  );
  return { svids };
}

function parseAsked(text: string): SpiffeId {
  try {
    return SpiffeId.parse(text);
  } catch (error) {
    throw new StatusError(
      StatusCode.INVALID_ARGUMENT,
      `invalid requested SPIFFE ID: ${errorText(error)}`,
    );
  }
}
