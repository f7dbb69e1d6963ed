/**
 * The Delegated Identity API of the admin socket: a trusted process fetches identities on behalf of workloads. The caller is attested as
 * any workload is, and must itself have an identity that the operator authorised; that is looked at again before each message. What makes
 * its holder an administrator or a downstream server is never handed out.
 */

import type { ServerClients } from "#agent/attestation/server-connection.ts";
import type { HandedOut } from "#agent/audit/handed-out.ts";
import type { Subscription } from "#agent/cache/subscription.ts";
import { anyChangedSince, waitsForSvids } from "#agent/cache/waiting.ts";
import type { JwtSvids } from "#agent/sync/jwt-svids.ts";
import { type BoundService, bindService, type CallContext } from "#grpc/bind.ts";
import {
  DelegatedIdentityService,
  type FetchJWTSVIDsRequest,
  type FetchJWTSVIDsResponse,
  type SubscribeToX509SVIDsRequest,
  type SubscribeToX509SVIDsResponse,
} from "#proto/spire/api/agent/delegatedidentity/v1/delegatedidentity.ts";
import { namedAudience } from "#spiffe/audience.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { Delegates, type DelegatesParts } from "./delegate.ts";
import {
  createDelegatedResponses,
  type DelegatedResponses,
  idMessage,
} from "./delegated-responses.ts";
import { DelegatedWorkload } from "./delegated-workload.ts";

export interface DelegatedIdentityParts extends DelegatesParts {
  readonly jwtSvids: JwtSvids;
  /** The present connection; it changes when the agent's SVID does. */
  readonly clients: () => ServerClients;
  readonly handedOut: HandedOut;
}

interface Tools extends DelegatedIdentityParts {
  readonly delegates: Delegates;
  readonly responses: DelegatedResponses;
}

export function createDelegatedIdentityApi(parts: DelegatedIdentityParts): BoundService {
  const responses = createDelegatedResponses(parts.cache);
  const tools = { ...parts, responses, delegates: new Delegates(parts) };
  return bindService(
    DelegatedIdentityService,
    {
      subscribeToX509SviDs: (request, context, send) => followSvids(tools, request, context, send),
      subscribeToX509Bundles: (_request, context, send) =>
        followBundles(tools, context, responses.x509Bundles, send),
      subscribeToJwtBundles: (_request, context, send) =>
        followBundles(tools, context, responses.jwtBundles, send),
      fetchJwtsviDs: (request, context) => fetchJwtSvids(tools, request, context),
    },
    { log: parts.log },
  );
}

async function followSvids(
  { cache, delegates, responses, ...tools }: Tools,
  request: SubscribeToX509SVIDsRequest,
  context: CallContext,
  send: (response: SubscribeToX509SVIDsResponse) => Promise<void>,
): Promise<void> {
  const caller = await delegates.attest(context);
  using workload = await DelegatedWorkload.of(request, tools, context.signal);
  using own = cache.subscribe(caller.selectors, "bundles");
  using subscription = cache.subscribe(workload.selectors, "x509-svids");
  let last: SubscribeToX509SVIDsResponse | undefined;
  while (!context.signal.aborted) {
    // Taken before the cache is read, so that a change in between is not missed.
    const seen = [own, subscription].map((one) => [one, one.version] as const);
    delegates.check(caller, own.identities());
    workload.checkAlive();
    workload.checkKnown(subscription.identities().length > 0);
    const sent = subscription.identities().filter(({ entry }) => entry.delegable);
    const isWaiting = waitsForSvids(cache, sent, last === undefined);
    const response = isWaiting ? undefined : responses.x509Svids(subscription);
    if (response !== undefined && response !== last) {
      await send(response);
      tools.handedOut.x509(caller, sent, context.method);
    }
    last = response ?? last;
    await anyChangedSince(seen, context.signal);
  }
}

async function followBundles<R>(
  { cache, delegates }: Tools,
  context: CallContext,
  responseFor: (delegate: Subscription) => R | undefined,
  send: (response: R) => Promise<void>,
): Promise<void> {
  const caller = await delegates.attest(context);
  using own = cache.subscribe(caller.selectors, "all-bundles");
  let last: R | undefined;
  while (!context.signal.aborted) {
    const { version } = own;
    delegates.check(caller, own.identities());
    const response = responseFor(own);
    if (response !== undefined && response !== last) await send(response);
    last = response;
    await own.changedSince(version, context.signal);
  }
}

async function fetchJwtSvids(
  { cache, delegates, jwtSvids, clients, ...tools }: Tools,
  request: FetchJWTSVIDsRequest,
  context: CallContext,
): Promise<FetchJWTSVIDsResponse> {
  const audience = namedAudience(request.audience, "audience must be specified");
  const caller = await delegates.attest(context);
  using workload = await DelegatedWorkload.of(request, tools, context.signal);
  const entries = cache
    .identitiesFor(workload.selectors)
    .flatMap(({ entry }) => (entry.delegable ? [entry] : []));
  workload.checkKnown(entries.length > 0);
  if (entries.length === 0) {
    throw new StatusError(StatusCode.PERMISSION_DENIED, "no identity issued");
  }
  const svids = await Promise.all(
    entries.map(async (entry) => {
      const svid = await jwtSvids.svid(clients().svid, entry, audience);
      const { token, issuedAt, expiresAt } = svid;
      tools.handedOut.jwt(caller, entry, { issuedAt, expiresAt, audience }, context.method);
      return { token, id: idMessage(entry.spiffeId), expiresAt, issuedAt, hint: entry.hint };
    }),
  );
  workload.checkAlive();
  return { svids };
}
