/**
 * The agent's own SVID: joined for once, kept across restarts, renewed at half of its life. Keys alternate between two slots, so that
 * the one in use is never overwritten before its successor is certified.
 */

import type { NodeAttestorAgent } from "#attestors/attestor.ts";
import { callUnary, openBidi } from "#grpc/client.ts";
import type { ClientIdentity } from "#grpc/server-channel.ts";
import type { KeyManager, ManagedKey } from "#keymanager/key-manager.ts";
import type {
  AttestAgentRequest,
  AttestAgentResponse,
} from "#proto/spire/api/server/agent/v1/agent.ts";
import { isAgentId } from "#spiffe/reserved-id.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { createCsr } from "#x509/csr.ts";
import { parseX509SvidChain, type X509SvidChain } from "#x509/svid.ts";
import type { ServerClients } from "./server-connection.ts";

const KEY_SLOTS = ["agent-svid-A", "agent-svid-B"] as const;
const RPC_TIMEOUT_MS = 30_000;

/** An agent's SVID with the key it is for. */
export interface AgentSvid extends X509SvidChain {
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  readonly key: ManagedKey;
  readonly reattestable: boolean;
}

export function identityOf(svid: AgentSvid): ClientIdentity {
  return { privateKeyPem: svid.key.exportPrivateKeyPem(), chain: svid.chain };
}

/** The SVID of the last run, if its key is there; it may have expired meanwhile. */
export function recoverSvid(
  chain: readonly Uint8Array[],
  reattestable: boolean,
  keys: KeyManager,
): AgentSvid | undefined {
  if (chain.length === 0) return undefined;
  const parsed = parseX509SvidChain(chain);
  const key = keys
    .keys()
    .find(({ publicKeySpki }) => Buffer.compare(publicKeySpki, parsed.leaf.publicKeySpki) === 0);
  if (key === undefined) return undefined;
  return { ...parsed, chain, key, reattestable };
}

/**
 * The key to attest with. It is the same for every try, because the server knows a node whose answer got lost by its key.
 *
 * @param unfinished whether no attestation ever came to an end here: a key that is there was then left by one that broke off
 */
export async function attestationKey(keys: KeyManager, unfinished: boolean): Promise<ManagedKey> {
  const left = unfinished ? keys.key(KEY_SLOTS[0]) : undefined;
  return left ?? (await keys.generateKey(KEY_SLOTS[0], "ec-p256"));
}

/** A key for the SVID after this one, in the slot that is free. */
export function nextKey(keys: KeyManager, current: AgentSvid): Promise<ManagedKey> {
  const slot = current.key.id === KEY_SLOTS[0] ? KEY_SLOTS[1] : KEY_SLOTS[0];
  return keys.generateKey(slot, "ec-p256");
}

/** Attests the node. @throws CannotAttestError, or StatusError with the server's answer */
export async function attestNode(
  clients: ServerClients,
  attestor: NodeAttestorAgent,
  key: ManagedKey,
  trustDomain: TrustDomain,
): Promise<AgentSvid> {
  const csr = await createCsr({ signer: key });
  const conversation = openBidi<AttestAgentRequest, AttestAgentResponse>(
    (metadata, options) => clients.agent.attestAgent(metadata, options),
    { timeoutMs: RPC_TIMEOUT_MS },
  );
  let answer: AttestAgentResponse | undefined;
  const receive = async (): Promise<void> => {
    answer = await conversation.receive();
  };
  try {
    await attestor.attest({
      sendPayload: async (payload) => {
        const params = { data: { type: attestor.type, payload }, params: { csr } };
        conversation.send({ step: { $case: "params", value: params } });
        await receive();
      },
      receiveChallenge: async () =>
        answer?.step?.$case === "challenge" ? answer.step.value : undefined,
      sendChallengeResponse: async (response) => {
        conversation.send({ step: { $case: "challengeResponse", value: response } });
        await receive();
      },
    });
    conversation.finish();
  } finally {
    conversation.cancel();
  }
  if (answer?.step?.$case !== "result" || answer.step.value.svid === undefined) {
    throw new StatusError(StatusCode.INTERNAL, "the server ended the attestation without a result");
  }
  const { svid, reattestable } = answer.step.value;
  return checked(svid.certChain, key, reattestable, trustDomain);
}

/** Asks for a new SVID with the present one. @throws StatusError */
export async function renewSvid(
  clients: ServerClients,
  current: AgentSvid,
  key: ManagedKey,
  trustDomain: TrustDomain,
): Promise<AgentSvid> {
  const csr = await createCsr({ signer: key });
  const { svid } = await callUnary(
    clients.agent,
    "renewAgent",
    { params: { csr } },
    { timeoutMs: RPC_TIMEOUT_MS },
  );
  if (svid === undefined) throw new StatusError(StatusCode.INTERNAL, "the server renewed nothing");
  return checked(svid.certChain, key, current.reattestable, trustDomain);
}

/** The server is trusted to sign, not to be free of mistakes: an SVID for another key or name would lock the agent out later. */
function checked(
  chain: readonly Uint8Array[],
  key: ManagedKey,
  reattestable: boolean,
  trustDomain: TrustDomain,
): AgentSvid {
  const parsed = parseX509SvidChain(chain);
  if (!parsed.id.memberOf(trustDomain) || !isAgentId(parsed.id)) {
    throw new StatusError(
      StatusCode.INTERNAL,
      `the server issued "${parsed.id}", which is no agent of ${trustDomain}`,
    );
  }
  if (Buffer.compare(parsed.leaf.publicKeySpki, key.publicKeySpki) !== 0) {
    throw new StatusError(StatusCode.INTERNAL, "the server issued an SVID for another key");
  }
  return { ...parsed, chain, key, reattestable };
}
