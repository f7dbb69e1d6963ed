/** The Nodes service: what an operator wants to know of nodes beyond what the reference's Agent service tells. */
import type { Clock } from "#clock/clock.ts";
import { type BoundService, bindService } from "#grpc/bind.ts";
import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import {
  type DescribeNodesRequest,
  type DescribeNodesResponse,
  type FindNodesRequest,
  type FindNodesResponse,
  type Node,
  NodesService,
} from "#proto/spire_edge/node/v1/node.ts";
import { attempt } from "#server/api/call/api-call.ts";
import { audited } from "#server/api/call/audited.ts";
import type { ServiceOptions } from "#server/api/call/guard.ts";
import type { Nodes } from "#server/datastore/datastore.ts";
import { agentIdFrom, idMessage, memberIdFrom } from "#server/message/convert-id.ts";
import { invalidArgument } from "#server/message/failure.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import type { Sightings } from "./sightings.ts";

export interface NodesParts {
  readonly trustDomain: TrustDomain;
  readonly nodes: Pick<Nodes, "find">;
  readonly authorized: {
    aliasesOf(agentId: string): readonly string[];
    agentsBehind(spiffeId: string): readonly string[];
  };
  readonly sightings: Sightings;
  readonly clock: Clock;
}

/** Of one request, and of one answer. */
const MAX_NODES = 1000;

export function createNodesService(parts: NodesParts, options: ServiceOptions): BoundService {
  return bindService(
    NodesService,
    audited({
      describeNodes: async ({ agentIds }: DescribeNodesRequest): Promise<DescribeNodesResponse> => {
        if (agentIds.length > MAX_NODES) {
          throw invalidArgument(`${MAX_NODES} agents at most are described at once`);
        }
        return { nodes: agentIds.map((id) => describe(parts, id)) };
      },
      findNodes: (request: FindNodesRequest): Promise<FindNodesResponse> => find(parts, request),
    }),
    options,
  );
}

function describe(
  { authorized, sightings, trustDomain, clock }: NodesParts,
  message: SPIFFEID,
): Node {
  const id = reading(() => agentIdFrom(trustDomain, message)).toString();
  const seen = sightings.of(id, clock.nowSeconds());
  return {
    agentId: message,
    aliases: [...authorized.aliasesOf(id)],
    lastSeenAt: seen?.at ?? 0,
    address: seen?.address ?? "",
    hostName: seen?.hostName ?? "",
    attestors: [...(seen?.attestors ?? [])],
  };
}

async function find(
  { authorized, nodes, trustDomain }: NodesParts,
  { spiffeId }: FindNodesRequest,
): Promise<FindNodesResponse> {
  const id = reading(() => memberIdFrom(trustDomain, spiffeId)).toString();
  const candidates = new Set([id, ...authorized.agentsBehind(id)]);
  const agentIds: SPIFFEID[] = [];
  for (const candidate of candidates) {
    const node = await attempt("failed to fetch agent", () => nodes.find(candidate));
    if (node !== undefined) agentIds.push(idMessage(SpiffeId.parse(candidate)));
    if (agentIds.length === MAX_NODES) break;
  }
  return { agentIds };
}

function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw invalidArgument("malformed SPIFFE ID", error);
  }
}
