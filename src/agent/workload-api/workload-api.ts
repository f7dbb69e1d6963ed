/**
 * The SPIFFE Workload API. A caller is attested when a stream begins, by the process the kernel named when it connected; it is served
 * what the cache holds for it, again whenever that changed, and until it has no identity any more.
 */
import { attestWorkload } from "#agent/attestation/workload-attestation.ts";
import type { JwtSvids } from "#agent/sync/jwt-svids.ts";
import type { ServerClients } from "#agent/sync/server-connection.ts";
import type { Identity, WorkloadCache } from "#agent/sync/workload-cache.ts";
import type { PeerProcess, WorkloadAttestor } from "#attestors/attestor.ts";
import type { Clock } from "#clock/clock.ts";
import { type BoundService, bindService, type CallContext } from "#grpc/bind.ts";
import {
  type JWTSVIDRequest,
  type JWTSVIDResponse,
  SpiffeWorkloadAPIService,
} from "#grpc/gen/spiffe/workload/workload.ts";
import type { Log } from "#log/log.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { jwtBundlesResponse, x509BundlesResponse, x509SvidResponse } from "./responses.ts";
import { validateJwtSvid } from "./validate-jwt.ts";

export interface WorkloadApiParts {
  readonly trustDomain: TrustDomain;
  readonly cache: WorkloadCache;
  readonly attestors: readonly WorkloadAttestor[];
  readonly jwtSvids: JwtSvids;
  /** The present connection; it changes when the agent's SVID does. */
  readonly clients: () => ServerClients;
  readonly allowUnauthenticatedVerifiers: boolean;
  readonly allowedForeignJwtClaims: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
}

export function createWorkloadApi(parts: WorkloadApiParts): BoundService {
  return bindService(
    SpiffeWorkloadAPIService,
    {
      fetchX509Svid: (_request, context, send) =>
        follow(parts, context, true, (identities) =>
          ifChanged(x509SvidResponse(identities, parts.cache, parts.trustDomain), send),
        ),
      fetchX509Bundles: (_request, context, send) =>
        follow(parts, context, false, (identities) =>
          ifChanged(x509BundlesResponse(identities, parts.cache, parts.trustDomain), send),
        ),
      fetchJwtBundles: (_request, context, send) =>
        follow(parts, context, false, (identities) =>
          ifChanged(jwtBundlesResponse(identities, parts.cache, parts.trustDomain), send),
        ),
      fetchJwtsvid: (request, context) => fetchJwtSvid(parts, request, context),
      validateJwtsvid: async (request, context) => {
        await callerIdentities(parts, context, false);
        return validateJwtSvid(parts, request);
      },
    },
    { guard: requireHeader, log: parts.log },
  );
}

/** SPIFFE Workload Endpoint §6.1: keeps a browser or a proxy from being talked into calling for somebody else. */
async function requireHeader({ metadata }: CallContext): Promise<void> {
  const values = metadata.get("workload.spiffe.io");
  if (values.length !== 1 || values[0] !== "true") {
    throw new StatusError(StatusCode.INVALID_ARGUMENT, "security header missing from request");
  }
}

function peerOf({ caller }: CallContext): PeerProcess {
  if (caller.kind === "unix") return caller.peer;
  throw new StatusError(StatusCode.INTERNAL, "the Workload API is served on a Unix socket only");
}

interface Attested {
  readonly peer: PeerProcess;
  readonly selectors: ReadonlySet<string>;
}

async function attested(parts: WorkloadApiParts, context: CallContext): Promise<Attested> {
  const peer = peerOf(context);
  return { peer, selectors: await attestWorkload(parts.attestors, peer, parts.log) };
}

/** What the caller is, now. @throws StatusError PERMISSION_DENIED when it is nobody, or no more */
function identitiesOf(
  parts: WorkloadApiParts,
  { peer, selectors }: Attested,
  needed: boolean,
): readonly Identity[] {
  // The process may have ended while its socket lives on in another.
  const identities = peer.isAlive() ? parts.cache.identitiesFor(selectors) : [];
  if (
    identities.length === 0 &&
    (needed || !parts.allowUnauthenticatedVerifiers || !peer.isAlive())
  ) {
    parts.log.debug("No identity issued", { pid: peer.pid, registered: false });
    throw new StatusError(StatusCode.PERMISSION_DENIED, "no identity issued");
  }
  return identities;
}

async function callerIdentities(
  parts: WorkloadApiParts,
  context: CallContext,
  needed: boolean,
): Promise<readonly Identity[]> {
  return identitiesOf(parts, await attested(parts, context), needed);
}

type SendState = (last: string | undefined) => Promise<string | undefined>;

/** Prepares sending a response unless it is the same as the one before; a response not ready yet is not sent at all. */
function ifChanged<R>(response: R | undefined, send: (response: R) => Promise<void>): SendState {
  return async (last) => {
    if (response === undefined) return last;
    const text = JSON.stringify(response, (_key, value: unknown) =>
      value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value,
    );
    if (text !== last) await send(response);
    return text;
  };
}

/** Serves a stream until the caller leaves or loses its identity. */
async function follow(
  parts: WorkloadApiParts,
  context: CallContext,
  needed: boolean,
  respond: (identities: readonly Identity[]) => SendState,
): Promise<void> {
  const caller = await attested(parts, context);
  let last: string | undefined;
  while (!context.signal.aborted) {
    // Taken before the cache is read, so that a change in between is not missed.
    const { version } = parts.cache;
    last = await respond(identitiesOf(parts, caller, needed))(last);
    await parts.cache.changedSince(version, context.signal);
  }
}

async function fetchJwtSvid(
  parts: WorkloadApiParts,
  request: JWTSVIDRequest,
  context: CallContext,
): Promise<JWTSVIDResponse> {
  if (request.audience.length === 0 || request.audience.includes("")) {
    throw new StatusError(StatusCode.INVALID_ARGUMENT, "audience must be specified");
  }
  const asked = request.spiffeId === "" ? undefined : parseAsked(request.spiffeId);
  const identities = await callerIdentities(parts, context, true);
  const chosen = identities.filter(
    ({ entry }) => asked === undefined || entry.spiffeId.equals(asked),
  );
  if (chosen.length === 0)
    throw new StatusError(StatusCode.PERMISSION_DENIED, "no identity issued");
  const svids = await Promise.all(
    chosen.map(async ({ entry }) => ({
      spiffeId: entry.spiffeId.toString(),
      svid: await parts.jwtSvids.token(parts.clients().svid, entry, request.audience),
      hint: entry.hint,
    })),
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
