/**
 * Envoy's Secret Discovery Service, for Envoys that are workloads: certificates and trust bundles by name, again whenever they change. A
 * caller is attested when a call begins, as for the Workload API. Private keys are among what it sends; none of it is ever logged.
 */
import { type AttestedCaller, attestCaller, type CallerTools } from "#agent/attestation/caller.ts";
import { attestationIncomplete } from "#agent/attestation/workload-attestation.ts";
import type { HandedOut } from "#agent/audit/handed-out.ts";
import type { Subscription } from "#agent/cache/subscription.ts";
import { checkOpen, SERVER_AWAY, unavailable, waitsForSvids } from "#agent/cache/waiting.ts";
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import {
  type Allowance,
  type BoundService,
  bindService,
  type CallContext,
  publicAllowance,
} from "#grpc/bind.ts";
import type { MessageLimits } from "#grpc/message-limits.ts";
import type {
  DiscoveryRequest,
  DiscoveryResponse,
} from "#proto/envoy/service/discovery/v3/discovery.ts";
import { SecretDiscoveryServiceService } from "#proto/envoy/service/secret/v3/sds.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { Conversation } from "./conversation.ts";
import { Inbox } from "./inbox.ts";
import { type SdsConfig, secretsFor } from "./secrets.ts";
import { type WorkloadState, workloadStates } from "./workload-state.ts";

export interface SdsParts extends CallerTools {
  readonly cache: WorkloadCache;
  readonly sds: SdsConfig;
  readonly handedOut: HandedOut;
  readonly random: Random;
}

interface Tools extends SdsParts {
  readonly stateOf: (workload: Subscription) => WorkloadState | undefined;
}

export function createSecretDiscoveryService(parts: SdsParts): BoundService {
  const tools = { ...parts, stateOf: workloadStates(parts.cache) };
  return bindService(
    SecretDiscoveryServiceService,
    {
      streamSecrets: (requests, context, send) => streamSecrets(tools, requests, context, send),
      fetchSecrets: (request, context) => fetchSecrets(tools, request, context),
      deltaSecrets: async () => {
        throw new StatusError(StatusCode.UNIMPLEMENTED, "Method is not implemented");
      },
    },
    { allowance, log: parts.log },
  );
}

/** Envoy describes itself with its first request, with a name and more for each of the some hundred extensions that are built in. */
const MAX_REQUEST: MessageLimits = { bytes: 256 * 1024, fields: 16_384 };

function allowance(context: CallContext): Allowance {
  return { ...publicAllowance(context), ...MAX_REQUEST };
}

/**
 * A stream whose caller has no identity is ended after that many milliseconds. Envoys try again, and one that is registered meanwhile is served
 * at once; the reference has them wait without end.
 */
const NAMELESS_MS = 30_000;

async function streamSecrets(
  tools: Tools,
  requests: AsyncIterable<DiscoveryRequest>,
  context: CallContext,
  send: (response: DiscoveryResponse) => Promise<void>,
): Promise<void> {
  const { cache, random, sds } = tools;
  const caller = await attestCaller(tools, context);
  using workload = cache.subscribe(caller.selectors, "x509-svids");
  const inbox = new Inbox(requests);
  const conversation = new Conversation<WorkloadState>(tools.logOf(caller.peer.uid));
  let namelessSinceMs: number | undefined;
  for (let isFirst = true; !context.signal.aborted; ) {
    // Taken before the cache is read, so that a change in between is not missed.
    const { version } = workload;
    const state = stateNow(tools, caller, workload, isFirst);
    const isNameless = workload.identities().length === 0;
    namelessSinceMs = isNameless ? (namelessSinceMs ?? tools.clock.monotonicMs()) : undefined;
    const leftMs = timeLeft(tools.clock, namelessSinceMs);
    isFirst &&= state === undefined;
    const request = inbox.take();
    if (request !== undefined) conversation.hear(request);
    conversation.see(state);
    const nonce = Buffer.from(random.bytes(4)).toString("hex");
    const answer = conversation.next(nonce);
    if (answer !== undefined) {
      const { versionInfo } = answer;
      const { typeUrl, resourceNames } = answer.request;
      const { resources, identities } = secretsFor(resourceNames, answer.node, answer.state, sds);
      await send({ versionInfo, typeUrl, nonce, resources });
      tools.handedOut.x509(caller, identities, context.method);
    }
    if (inbox.isOver) return;
    const late = leftMs === undefined ? undefined : tools.clock.after(leftMs, () => inbox.wake());
    await changeOrNews(workload, version, inbox, context.signal);
    late?.cancel();
  }
}

/** @returns milliseconds until a stream without identity is over, if it is one @throws StatusError UNAVAILABLE when it is over */
function timeLeft(clock: Clock, namelessSinceMs: number | undefined): number | undefined {
  if (namelessSinceMs === undefined) return undefined;
  const leftMs = namelessSinceMs + NAMELESS_MS - clock.monotonicMs();
  if (leftMs <= 0) throw unavailable("no identity issued");
  return leftMs;
}

async function fetchSecrets(
  tools: Tools,
  { resourceNames, node, typeUrl }: DiscoveryRequest,
  context: CallContext,
): Promise<DiscoveryResponse> {
  const caller = await attestCaller(tools, context);
  using workload = tools.cache.subscribe(caller.selectors, "x509-svids");
  for (;;) {
    const { version } = workload;
    const state = stateNow(tools, caller, workload, true);
    if (state !== undefined) {
      const { resources, identities } = secretsFor(resourceNames, node, state, tools.sds);
      tools.handedOut.x509(caller, identities, context.method);
      return { versionInfo: "", typeUrl, nonce: "", resources };
    }
    await workload.changedSince(version, context.signal);
    if (context.signal.aborted) throw new StatusError(StatusCode.CANCELLED, "the caller is gone");
  }
}

/**
 * What the workload is; undefined as long as its X509-SVIDs are not there.
 *
 * @throws StatusError UNAVAILABLE when that cannot be said now
 */
function stateNow(
  { cache, stateOf }: Tools,
  { peer, silent, identified }: AttestedCaller,
  workload: Subscription,
  isFirst: boolean,
): WorkloadState | undefined {
  checkOpen(cache);
  if (!cache.isFilled) throw unavailable(SERVER_AWAY);
  // The process may have ended while its socket lives on in another.
  if (!peer.isAlive()) throw unavailable("workload attestation failed");
  const identities = workload.identities();
  if (identities.length > 0) identified();
  if (identities.length === 0 && silent.length > 0) throw attestationIncomplete({ silent });
  return waitsForSvids(cache, identities, isFirst) ? undefined : stateOf(workload);
}

/** Resolves when the workload is no longer at that version, when there is news from the client, or when the signal aborts. */
async function changeOrNews(
  workload: Subscription,
  version: number,
  inbox: Inbox<DiscoveryRequest>,
  signal: AbortSignal,
): Promise<void> {
  if (inbox.hasNews) return;
  const news = new AbortController();
  const end = (): void => news.abort();
  inbox.whenNews(end);
  signal.addEventListener("abort", end, { once: true });
  await workload.changedSince(version, news.signal);
  signal.removeEventListener("abort", end);
  inbox.whenNews(() => {});
}
