import { createHash } from "node:crypto";
import type { CallContext } from "#grpc/bind.ts";
import type {
  PostStatusRequest,
  PostStatusResponse,
  RenewAgentRequest,
  RenewAgentResponse,
} from "#proto/spire/api/server/agent/v1/agent.ts";
import { apiCall, attempt, callerId, waitForTurn } from "#server/api/call/api-call.ts";
import type { NodeChange } from "#server/datastore/datastore.ts";
import { x509SvidMessage } from "#server/message/convert-svid.ts";
import { checkedCsr } from "#server/message/csr.ts";
import { codeOf, failure, invalidArgument } from "#server/message/failure.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { checkStillActive } from "./agent-standing.ts";
import type { AttestAgentParts } from "./attest-agent.ts";

type RenewParts = Pick<AttestAgentParts, "nodes" | "agentLocks" | "ca" | "limits">;

const MAX_VERSION_BYTES = 255;

/**
 * Renews the SVID of the calling agent. The old one stays good until the agent has called with the new one, so an answer
 * that gets lost locks nobody out.
 */
export async function renewAgent(
  parts: RenewParts,
  { params }: RenewAgentRequest,
  context: CallContext,
): Promise<RenewAgentResponse> {
  const call = apiCall(context);
  if (params !== undefined && params.csr.length > 0) {
    call.audit.add({ csr: createHash("sha256").update(params.csr).digest("hex") });
  }
  const refusal = "rejecting request due to renew agent rate limiting";
  await waitForTurn(parts.limits.x509Signing, context, 1, refusal);
  const id = callerId(call);
  await checkMayRenew(parts, id.toString());
  if (params === undefined) throw invalidArgument("params cannot be nil");
  if (params.csr.length === 0) throw invalidArgument("missing CSR");
  const csr = await checkedCsr(params.csr, {
    malformed: "failed to parse CSR",
    badSignature: "invalid CSR signature",
  });
  call.log.info("Renewing agent SVID");
  const svid = await attempt("failed to sign X509 SVID", () =>
    parts.ca.agentSvid({ id, publicKeySpki: csr.publicKeySpki, publicKey: csr.publicKey }),
  );
  await parts.agentLocks.run(id.toString(), async () => {
    // Whoever joined again under this ID meanwhile has put another SVID in the place of the caller's.
    await checkStillActive(parts.nodes, call.identity);
    await updateAgent(parts, id.toString(), {
      newSerialNumber: svid.serialNumber,
      newNotAfter: svid.expiresAt,
    });
  });
  return { svid: x509SvidMessage(svid) };
}

/** Only an agent that cannot prove itself again is renewed on the strength of its old SVID. */
async function checkMayRenew({ nodes }: RenewParts, spiffeId: string): Promise<void> {
  const node = await attempt("failed to fetch agent", () => nodes.find(spiffeId));
  if (node === undefined) throw new StatusError(StatusCode.NOT_FOUND, "agent not found");
  if (node.canReattest) {
    throw new StatusError(StatusCode.PERMISSION_DENIED, "agent must reattest instead of renew", {
      reason: "AGENT_MUST_REATTEST",
    });
  }
}

/** Takes down which version the calling agent runs. */
export async function postStatus(
  parts: RenewParts,
  { agentVersion }: PostStatusRequest,
  context: CallContext,
): Promise<PostStatusResponse> {
  const call = apiCall(context);
  const refusal = "rejecting request due to post status rate limiting";
  await waitForTurn(parts.limits.agentStatus, context, 1, refusal);
  const spiffeId = callerId(call).toString();
  call.audit.add({ spiffe_id: spiffeId });
  if (agentVersion === "") return {};
  if (Buffer.byteLength(agentVersion) > MAX_VERSION_BYTES) {
    throw invalidArgument(`agent version is too long (max ${MAX_VERSION_BYTES} characters)`);
  }
  call.audit.add({ agent_version: agentVersion });
  await updateAgent(parts, spiffeId, { agentVersion });
  return {};
}

async function updateAgent(
  { nodes }: RenewParts,
  spiffeId: string,
  change: NodeChange,
): Promise<void> {
  try {
    await nodes.update(spiffeId, change);
  } catch (error) {
    if (codeOf(error) === StatusCode.NOT_FOUND) {
      throw failure(StatusCode.NOT_FOUND, "agent not found", error);
    }
    throw failure(StatusCode.INTERNAL, "failed to update agent", error);
  }
}
