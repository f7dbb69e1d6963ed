/**
 * The JoinToken service: an operator lets a node that lost its disk, or was away for too long, in again under the agent ID it
 * had, takes back tokens that nobody is to use, and learns where agents find the server. It lets nobody in itself; that is AttestAgent's
 * business.
 */
import { type BoundService, bindService, type CallContext } from "#grpc/bind.ts";
import type { Empty } from "#proto/google/protobuf/empty.ts";
import type { JoinToken } from "#proto/spire/api/types/jointoken.ts";
import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import {
  type CreateRejoinTokenRequest,
  type DeleteJoinTokenRequest,
  type JoinAddress,
  JoinTokenService,
} from "#proto/spire_edge/jointoken/v1/jointoken.ts";
import { type ApiCall, apiCall, attempt } from "#server/api/call/api-call.ts";
import { audited } from "#server/api/call/audited.ts";
import type { ServiceOptions } from "#server/api/call/guard.ts";
import type { AttestedNode, Nodes } from "#server/datastore/datastore.ts";
import { agentIdFrom } from "#server/message/convert-id.ts";
import { invalidArgument } from "#server/message/failure.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { isBanned } from "./convert-agent.ts";
import { expiryOf, type JoinTokenParts, readJoinerId } from "./join-token.ts";

type RejoinParts = Omit<JoinTokenParts, "entries"> & {
  readonly nodes: Pick<Nodes, "find">;
  readonly joinAddress: JoinAddress;
};

export function createJoinTokenService(parts: RejoinParts, options: ServiceOptions): BoundService {
  return bindService(
    JoinTokenService,
    audited({
      createRejoinToken: (request: CreateRejoinTokenRequest, context: CallContext) =>
        createRejoinToken(parts, request, apiCall(context)),
      deleteJoinToken: (request: DeleteJoinTokenRequest, context: CallContext) =>
        deleteJoinToken(parts, request, apiCall(context)),
      getJoinAddress: async (_request: Empty) => parts.joinAddress,
    }),
    options,
  );
}

async function createRejoinToken(
  parts: RejoinParts,
  request: CreateRejoinTokenRequest,
  { audit, log }: ApiCall,
): Promise<JoinToken> {
  const rejoins = readAgentId(parts, request.agentId);
  audit.add({ spiffe_id: rejoins });
  const expiresAt = expiryOf(parts, request, audit);
  const node = await attempt("failed to fetch agent", () => parts.nodes.find(rejoins));
  checkMayRejoin(node);
  const value = parts.random.uuid();
  await attempt("failed to create token", () =>
    parts.joinTokens.create({ token: value, expiresAt, rejoins }),
  );
  log.info("Created a token for an agent to join again", { spiffe_id: rejoins });
  return { value, expiresAt };
}

/**
 * Of a node that attested otherwise the server knows more than a token can vouch for: its selectors. It attests again by the
 * means it has.
 */
function checkMayRejoin(node: AttestedNode | undefined): void {
  if (node === undefined) throw new StatusError(StatusCode.NOT_FOUND, "agent not found");
  if (isBanned(node)) {
    throw new StatusError(StatusCode.FAILED_PRECONDITION, "agent is banned: evict it first");
  }
  if (node.attestationType !== "join_token") {
    throw new StatusError(
      StatusCode.FAILED_PRECONDITION,
      `agent attested by ${node.attestationType}, and attests again by that: only one that joined by token is let in by another`,
    );
  }
}

async function deleteJoinToken(
  parts: RejoinParts,
  { which }: DeleteJoinTokenRequest,
  call: ApiCall,
): Promise<Empty> {
  switch (which?.$case) {
    case "token":
      await deleteToken(parts, which.value);
      break;
    case "agentId":
      await deleteRejoinToken(parts, readAgentId(parts, which.value), call);
      break;
    case undefined:
      throw invalidArgument("a token or an agent ID is required");
  }
  call.log.info("Join token deleted");
  return {};
}

async function deleteToken(parts: RejoinParts, token: string): Promise<void> {
  const newNode = readJoinerId(parts, token).toString();
  const outcome = await attempt("failed to delete token", () =>
    parts.joinTokens.delete(token, newNode),
  );
  if (outcome === "used") {
    throw new StatusError(
      StatusCode.FAILED_PRECONDITION,
      "join token has already been used: evict or ban the agent that joined by it",
    );
  }
  if (outcome === "unknown") throw unknownToken();
}

async function deleteRejoinToken(
  { joinTokens }: RejoinParts,
  node: string,
  { audit }: ApiCall,
): Promise<void> {
  audit.add({ spiffe_id: node });
  const deleted = await attempt("failed to delete token", () => joinTokens.deleteRejoin(node));
  if (!deleted) throw unknownToken();
}

function unknownToken(): StatusError {
  return new StatusError(
    StatusCode.NOT_FOUND,
    "join token does not exist or has already been used",
  );
}

function readAgentId({ trustDomain }: RejoinParts, message: SPIFFEID | undefined): string {
  try {
    return agentIdFrom(trustDomain, message).toString();
  } catch (error) {
    throw invalidArgument("invalid agent ID", error);
  }
}
