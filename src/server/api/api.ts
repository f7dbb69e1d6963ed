/**
 * The server's API: every service, bound behind the one guard. The services are the same on both endpoints; who may call
 * what is the guard's business.
 */
import type { NodeAttestorServer } from "#attestors/attestor.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { KeptFiles } from "#files/kept-files.ts";
import type { BoundService, CallContext } from "#grpc/bind.ts";
import type { Caller } from "#grpc/caller.ts";
import { createHealthService } from "#grpc/health.ts";
import { LevelSwitch } from "#grpc/log-level.ts";
import type { Log } from "#log/log.ts";
import type { JoinAddress } from "#proto/spire_edge/jointoken/v1/jointoken.ts";
import { createAgentService } from "#server/api/agent/agent.ts";
import { checkAgentStanding } from "#server/api/agent/agent-standing.ts";
import { createNodesService, type NodesParts } from "#server/api/agent/nodes.ts";
import { createJoinTokenService } from "#server/api/agent/rejoin.ts";
import { Sightings } from "#server/api/agent/sightings.ts";
import { createBundleService } from "#server/api/bundle/bundle.ts";
import { allowanceOf } from "#server/api/call/allowance.ts";
import { CallerIdentities } from "#server/api/call/caller-identity.ts";
import { Exclusive } from "#server/api/call/exclusive.ts";
import { createGuard, type Guard } from "#server/api/call/guard.ts";
import { createRateLimits, type RateLimitSwitches } from "#server/api/call/rate-limit.ts";
import { TrustRoots } from "#server/api/call/trust-roots.ts";
import { createChangesService } from "#server/api/changes/changes.ts";
import type { Watchers } from "#server/api/changes/changes-watchers.ts";
import { createDeclaredEntriesService } from "#server/api/entry/declared-entries.ts";
import { createEntryService } from "#server/api/entry/entry.ts";
import type { AuthorizedEntriesSource } from "#server/api/entry/entry-sync.ts";
import { createLocalAuthorityService } from "#server/api/local-authority/local-authority.ts";
import { createCaService } from "#server/api/operator/ca.ts";
import { createDebugService } from "#server/api/operator/debug.ts";
import { createLoggerService } from "#server/api/operator/logger.ts";
import { createSvidService } from "#server/api/svid/svid.ts";
import {
  type BundleRefresh,
  createTrustDomainService,
} from "#server/api/trust-domain/trust-domain.ts";
import type { CaManager } from "#server/ca/ca-manager.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import type { Reconciler } from "#server/declared/reconcile.ts";
import type { LostTime } from "#server/restored.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import type { Metrics } from "#telemetry/metrics.ts";

/** What of the configuration may change while the server runs. */
export interface ApiSettings {
  readonly adminIds: readonly SpiffeId[];
  readonly auditLogEnabled: boolean;
  readonly auditLogReads: boolean;
  readonly rateLimit: RateLimitSwitches;
}

export interface ApiParts {
  readonly trustDomain: TrustDomain;
  /** As the configuration has it at this moment. */
  readonly settings: () => ApiSettings;
  readonly jwtSvidsDisabled: boolean;
  readonly witSvidsEnabled: boolean;
  readonly hasUpstreamAuthority: boolean;
  readonly agentIdAsSelector: boolean;
  readonly store: DataStore;
  readonly authorized: AuthorizedEntriesSource & NodesParts["authorized"];
  readonly watchers: Watchers;
  readonly reconciler: Reconciler;
  readonly attestors: ReadonlyMap<string, NodeAttestorServer>;
  /** Where agents reach the server, for join words. */
  readonly joinAddress: JoinAddress;
  readonly ca: CaManager;
  /** The chain the server shows to agents, DER, leaf first. */
  readonly serverChain: () => readonly Uint8Array[];
  readonly refresher: BundleRefresh;
  readonly lostTime: LostTime | undefined;
  /** What is stored. */
  readonly kept: KeptFiles;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** Binds all services. */
export function createApi(parts: ApiParts): readonly BoundService[] {
  const { store, log } = parts;
  const agentLocks = new Exclusive();
  const sightings = new Sightings();
  const shared = {
    ...parts,
    sightings,
    agentLocks,
    nodes: store.nodes,
    entries: store.entries,
    bundles: store.bundles,
    relationships: store.federationRelationships,
    joinTokens: store.joinTokens,
    limits: createRateLimits(() => parts.settings().rateLimit, parts.clock),
  };
  const options = { guard: guardOf(parts, agentLocks, sightings), allowance: allowanceOf, log };
  return [
    createAgentService(shared, options),
    createBundleService(shared, options),
    createCaService(shared, options),
    createChangesService(shared, options),
    createEntryService(shared, options),
    createDeclaredEntriesService(shared, options),
    createLocalAuthorityService(shared, options),
    createJoinTokenService(shared, options),
    createSvidService(shared, options),
    createNodesService(shared, options),
    createLoggerService(new LevelSwitch(parts.log.settings), options),
    createDebugService(parts, options),
    createTrustDomainService(shared, options),
    createHealthService({ problem: ({ kind }) => problemFor(kind, parts) }, options),
  ];
}

function guardOf(parts: ApiParts, agentLocks: Exclusive, sightings: Sightings): Guard {
  const { store, trustDomain, settings, lostTime, clock, random, log } = parts;
  const trustRoots = new TrustRoots(store);
  return createGuard({
    identities: new CallerIdentities({
      trustDomain,
      adminIds: () => settings().adminIds,
      trustRoots,
      clock,
    }),
    entriesOf: async (id) => {
      const all = { size: 0, token: "" };
      return (await store.entries.list({ spiffeId: id.toString() }, all)).items;
    },
    checkAgent: (id, certificate) =>
      checkAgentStanding({ nodes: store.nodes, agentLocks, lostTime }, id, certificate),
    sawAgent: (id, context) => note(sightings, clock, id.toString(), context),
    auditLogEnabled: () => settings().auditLogEnabled,
    auditLogReads: () => settings().auditLogReads,
    random,
    clock,
    log,
  });
}

/** Open for as long as the agent is connected. */
const WATCH = "/spire_edge.changes.v1.Changes/WatchChanges";

function note(sightings: Sightings, clock: Clock, agentId: string, context: CallContext): void {
  const { caller, metadata, method, signal } = context;
  const [userAgent] = metadata.get("user-agent");
  const address = caller.kind === "tls" ? caller.remoteAddress : "";
  sightings.saw(agentId, clock.nowSeconds(), address, String(userAgent ?? ""));
  if (method !== WATCH || signal.aborted) return;
  const ended = sightings.stands(agentId);
  signal.addEventListener("abort", () => ended(clock.nowSeconds()), { once: true });
}

/** What keeps the server from serving; whoever is not on its socket learns only that something does. */
async function problemFor(caller: Caller["kind"], parts: ApiParts): Promise<string | undefined> {
  const problem = await problemOf(parts);
  return problem === undefined || caller === "unix" ? problem : "";
}

/** A server without a trust bundle, or without a CA, has nothing to offer anybody. */
async function problemOf(parts: ApiParts): Promise<string | undefined> {
  const { store, trustDomain, ca, kept } = parts;
  const problem = kept.problem()?.text ?? ca.waitingFor();
  if (problem !== undefined) return problem;
  const bundle = await store.bundles.find(trustDomain.name);
  return bundle === undefined ? "the trust bundle is not in the datastore" : undefined;
}
