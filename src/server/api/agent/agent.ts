/** The Agent service: operators look after attested nodes, agents attest, renew and report. */
import { type BoundService, bindService, type CallContext } from "#grpc/bind.ts";
import type { Empty } from "#proto/google/protobuf/empty.ts";
import {
  AgentService,
  type AttestAgentRequest,
  type AttestAgentResponse,
  type BanAgentRequest,
  type CountAgentsRequest,
  type CountAgentsResponse,
  type CreateJoinTokenRequest,
  type DeleteAgentRequest,
  type GetAgentRequest,
  type ListAgentsRequest,
  type ListAgentsResponse,
  type PostStatusRequest,
  type RenewAgentRequest,
} from "#proto/spire/api/server/agent/v1/agent.ts";
import type { Agent } from "#proto/spire/api/types/agent.ts";
import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import { type ApiCall, apiCall, attempt } from "#server/api/call/api-call.ts";
import { audited } from "#server/api/call/audited.ts";
import type { ServiceOptions } from "#server/api/call/guard.ts";
import { agentIdFrom } from "#server/message/convert-id.ts";
import { codeOf, failure, invalidArgument } from "#server/message/failure.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { agentFilterFields, agentFilterFrom } from "./agent-filter.ts";
import { type AttestAgentParts, attestAgent } from "./attest-agent.ts";
import { agentMessage } from "./convert-agent.ts";
import { createJoinToken, type JoinTokenParts } from "./join-token.ts";
import { postStatus, renewAgent } from "./renew-agent.ts";

export type AgentServiceParts = AttestAgentParts & JoinTokenParts;

export function createAgentService(
  parts: AgentServiceParts,
  options: ServiceOptions,
): BoundService {
  return bindService(
    AgentService,
    audited({
      countAgents: (request: CountAgentsRequest, context: CallContext) =>
        countAgents(parts, request, apiCall(context)),
      listAgents: (request: ListAgentsRequest, context: CallContext) =>
        listAgents(parts, request, apiCall(context)),
      getAgent: (request: GetAgentRequest, context: CallContext) =>
        getAgent(parts, request, apiCall(context)),
      deleteAgent: (request: DeleteAgentRequest, context: CallContext) =>
        deleteAgent(parts, request, apiCall(context)),
      banAgent: (request: BanAgentRequest, context: CallContext) =>
        banAgent(parts, request, apiCall(context)),
      attestAgent: (
        requests: AsyncIterable<AttestAgentRequest>,
        context: CallContext,
        send: (response: AttestAgentResponse) => Promise<void>,
      ) => attestAgent(parts, requests, context, send),
      renewAgent: (request: RenewAgentRequest, context: CallContext) =>
        renewAgent(parts, request, context),
      createJoinToken: (request: CreateJoinTokenRequest, context: CallContext) =>
        createJoinToken(parts, request, apiCall(context)),
      postStatus: (request: PostStatusRequest, context: CallContext) =>
        postStatus(parts, request, context),
    }),
    options,
  );
}

async function countAgents(
  { nodes }: AgentServiceParts,
  { filter }: CountAgentsRequest,
  { audit }: ApiCall,
): Promise<CountAgentsResponse> {
  audit.add(agentFilterFields(filter));
  const nodeFilter = agentFilterFrom(filter);
  const count = await attempt(
    "failed to count agents",
    () => nodes.count(nodeFilter),
    StatusCode.INTERNAL,
  );
  return { count };
}

async function listAgents(
  { nodes }: AgentServiceParts,
  { filter, outputMask, pageSize, pageToken }: ListAgentsRequest,
  { audit }: ApiCall,
): Promise<ListAgentsResponse> {
  audit.add(agentFilterFields(filter));
  const nodeFilter = agentFilterFrom(filter);
  const page = pageSize > 0 ? { size: pageSize, token: pageToken } : { size: 0, token: "" };
  const listing = await attempt(
    "failed to list agents",
    () => nodes.list(nodeFilter, page),
    StatusCode.INTERNAL,
  );
  return {
    agents: listing.items.map((node) => agentMessage(node, outputMask)),
    nextPageToken: listing.nextToken,
  };
}

async function getAgent(
  parts: AgentServiceParts,
  { id, outputMask }: GetAgentRequest,
  call: ApiCall,
): Promise<Agent> {
  const agentId = readAgentId(parts, id, call);
  const node = await attempt(
    "failed to fetch agent",
    () => parts.nodes.find(agentId.toString()),
    StatusCode.INTERNAL,
  );
  if (node === undefined) throw new StatusError(StatusCode.NOT_FOUND, "agent not found");
  return agentMessage(node, outputMask);
}

async function deleteAgent(
  parts: AgentServiceParts,
  { id }: DeleteAgentRequest,
  call: ApiCall,
): Promise<Empty> {
  const agentId = readAgentId(parts, id, call).toString();
  await changeAgent("failed to remove agent", () =>
    parts.agentLocks.run(agentId, () => parts.nodes.delete(agentId)),
  );
  call.log.info("Agent deleted", { spiffe_id: agentId });
  return {};
}

/** A banned agent keeps its record, without any serial number that an SVID could match. */
async function banAgent(
  parts: AgentServiceParts,
  { id }: BanAgentRequest,
  call: ApiCall,
): Promise<Empty> {
  const agentId = readAgentId(parts, id, call).toString();
  await changeAgent("failed to ban agent", () =>
    parts.agentLocks.run(agentId, () =>
      parts.nodes.update(agentId, { serialNumber: "", newSerialNumber: "" }),
    ),
  );
  call.log.info("Agent banned", { spiffe_id: agentId });
  return {};
}

function readAgentId(
  { trustDomain }: AgentServiceParts,
  message: SPIFFEID | undefined,
  { audit }: ApiCall,
): SpiffeId {
  try {
    const id = agentIdFrom(trustDomain, message);
    audit.add({ spiffe_id: id.toString() });
    return id;
  } catch (error) {
    throw invalidArgument("invalid agent ID", error);
  }
}

async function changeAgent(message: string, change: () => Promise<unknown>): Promise<void> {
  try {
    await change();
  } catch (error) {
    if (codeOf(error) === StatusCode.NOT_FOUND) {
      throw failure(StatusCode.NOT_FOUND, "agent not found", error);
    }
    throw failure(StatusCode.INTERNAL, message, error);
  }
}
