import type { NodeAttestation, NodeAttestorServer, NodePeer } from "#attestors/attestor.ts";
import { joinTokenRefusal } from "#attestors/join_token/server.ts";
import type { Clock } from "#clock/clock.ts";
import type { CallContext } from "#grpc/bind.ts";
import type { Log } from "#log/log.ts";
import type {
  AttestAgentRequest,
  AttestAgentRequest_Params,
  AttestAgentResponse,
} from "#proto/spire/api/server/agent/v1/agent.ts";
import { apiCall, attempt, waitForTurn } from "#server/api/call/api-call.ts";
import type { Exclusive } from "#server/api/call/exclusive.ts";
import { type NextMessage, nextMessageOf } from "#server/api/call/next-message.ts";
import type { RateLimits } from "#server/api/call/rate-limit.ts";
import type { CaManager, X509Svid } from "#server/ca/ca-manager.ts";
import type { AttestedNode, JoinTokens, Nodes } from "#server/datastore/datastore.ts";
import { normalizedSelectors } from "#server/message/convert-selector.ts";
import { x509SvidMessage } from "#server/message/convert-svid.ts";
import { checkedCsr } from "#server/message/csr.ts";
import { invalidArgument } from "#server/message/failure.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import type { Csr } from "#x509/csr.ts";
import { checkedAgentIds, knownNode } from "./known-node.ts";

export interface AttestAgentParts {
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly nodes: Nodes;
  readonly joinTokens: Pick<JoinTokens, "join">;
  /** Keyed by agent ID; whoever bans, deletes, attests or promotes an agent holds its lock. */
  readonly agentLocks: Exclusive;
  /** By attestation type. */
  readonly attestors: ReadonlyMap<string, NodeAttestorServer>;
  readonly ca: CaManager;
  readonly limits: RateLimits;
  /** Adds `spiffe_id:<agent ID>` to the selectors of every agent. */
  readonly agentIdAsSelector: boolean;
}

type Send = (response: AttestAgentResponse) => Promise<void>;

/**
 * Attests an agent and hands it its SVID. Whatever can be wrong with the request itself is looked at before the attestor
 * runs: an attestation may use up what the agent proves itself by.
 */
export async function attestAgent(
  parts: AttestAgentParts,
  requests: AsyncIterable<AttestAgentRequest>,
  context: CallContext,
  send: Send,
): Promise<void> {
  const { audit, log } = apiCall(context);
  const refusal = "rejecting request due to attest agent rate limiting";
  await waitForTurn(parts.limits.attestation, context, 1, refusal);
  const next = nextMessageOf(requests, parts.clock);
  const { type, payload, csrDer } = await receiveParams(next);
  audit.add({ node_attestor_type: type });
  const attestor = attestorNamed(parts, type);
  const csr = await checkedCsr(csrDer, {
    malformed: "failed to parse CSR",
    badSignature: "invalid CSR signature",
  });
  const attestation = await attestor.attest(
    payload,
    (challenge) => exchangeChallenge(next, send, challenge),
    peerOf(context, csr),
  );
  const ids = checkedAgentIds(parts, attestation);
  audit.add({ agent_id: String(ids[0]) });
  const svid = await parts.agentLocks.runAll(ids.map(String), async () => {
    const known = await knownNode(parts, type, ids);
    const id = ids.find((one) => one.toString() === known?.spiffeId) ?? ids[0];
    audit.add({ agent_id: id.toString() });
    return issueAndStore(parts, { type, id, known }, attestation, csr, log);
  });
  log.info("Agent attestation request completed", {
    agent_id: svid.id.toString(),
    node_attestor_type: type,
  });
  await send({
    step: {
      $case: "result",
      value: { svid: x509SvidMessage(svid), reattestable: attestation.canReattest },
    },
  });
}

async function receiveParams(
  next: NextMessage<AttestAgentRequest>,
): Promise<{ type: string; payload: Uint8Array; csrDer: Uint8Array }> {
  const request = await next();
  if (request === undefined) throw invalidArgument("failed to receive request from stream: EOF");
  const params = request.step?.$case === "params" ? request.step.value : undefined;
  const problem = paramsProblem(params);
  if (problem !== undefined) throw invalidArgument(`malformed param: ${problem}`);
  return {
    type: params?.data?.type ?? "",
    payload: params?.data?.payload ?? new Uint8Array(),
    csrDer: params?.params?.csr ?? new Uint8Array(),
  };
}

function paramsProblem(params: AttestAgentRequest_Params | undefined): string | undefined {
  if (params === undefined) return "missing params";
  if (params.data === undefined) return "missing attestation data";
  if (params.params === undefined) return "missing X509-SVID parameters";
  if (params.params.csr.length === 0) return "missing CSR";
  if (params.data.type === "") return "missing attestation data type";
  if (params.data.payload.length === 0) return "missing attestation data payload";
  return undefined;
}

function attestorNamed({ attestors }: AttestAgentParts, type: string): NodeAttestorServer {
  const attestor = attestors.get(type);
  if (attestor !== undefined) return attestor;
  throw new StatusError(
    StatusCode.FAILED_PRECONDITION,
    `error getting node attestor: could not find node attestor type ${JSON.stringify(type)}`,
  );
}

async function exchangeChallenge(
  next: NextMessage<AttestAgentRequest>,
  send: Send,
  challenge: Uint8Array,
): Promise<Uint8Array> {
  await send({ step: { $case: "challenge", value: challenge } });
  const request = await next();
  if (request === undefined) {
    throw new StatusError(StatusCode.INTERNAL, "failed to receive challenge from agent: EOF");
  }
  return request.step?.$case === "challengeResponse" ? request.step.value : new Uint8Array();
}

function peerOf({ caller }: CallContext, { publicKeySpki }: Csr): NodePeer {
  return caller.kind === "tls"
    ? { publicKeySpki, ipAddress: caller.remoteAddress }
    : { publicKeySpki };
}

interface Attested {
  readonly type: string;
  readonly id: SpiffeId;
  readonly known: AttestedNode | undefined;
}

async function issueAndStore(
  parts: AttestAgentParts,
  { type: attestationType, id, known }: Attested,
  attestation: NodeAttestation,
  csr: Csr,
  log: Log,
): Promise<X509Svid> {
  const spiffeId = id.toString();
  const svid = await attempt("failed to sign X509 SVID", () =>
    parts.ca.agentSvid({ id, publicKeySpki: csr.publicKeySpki, publicKey: csr.publicKey }),
  );
  const ownSelector = { type: "spiffe_id", value: spiffeId };
  const node: AttestedNode = {
    spiffeId,
    attestationType,
    serialNumber: svid.serialNumber,
    notAfter: svid.expiresAt,
    newSerialNumber: "",
    newNotAfter: 0,
    canReattest: attestation.canReattest,
    agentVersion: known?.agentVersion ?? "",
    selectors: normalizedSelectors([
      ...attestation.selectors,
      ...(parts.agentIdAsSelector ? [ownSelector] : []),
    ]),
  };
  await storeNode(parts, node, attestation, log);
  return svid;
}

async function storeNode(
  parts: AttestAgentParts,
  node: AttestedNode,
  { joinToken }: NodeAttestation,
  log: Log,
): Promise<void> {
  const failed = "failed to create attested agent";
  if (joinToken === undefined) {
    await attempt(failed, () => parts.nodes.put(node));
    return;
  }
  const outcome = await attempt(failed, () => parts.joinTokens.join(node, joinToken));
  if (outcome === "refused") throw joinTokenRefusal();
  if (outcome === "repeated") {
    log.info("Join token presented again by the agent that used it", { agent_id: node.spiffeId });
  }
}
