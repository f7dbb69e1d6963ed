import { Agent, type AgentMask } from "#proto/spire/api/types/agent.ts";
import type { AttestedNode } from "#server/datastore/datastore.ts";
import { idMessage } from "#server/message/convert-id.ts";
import { selectorMessages } from "#server/message/convert-selector.ts";
import { maskedMessage } from "#server/message/output-mask.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";

/** A ban is stored as a node without a serial number: no SVID can match it any more. */
export function isBanned(node: AttestedNode): boolean {
  return node.serialNumber === "";
}

/** The attested node as a message, holding what the mask asks for; without a mask, everything. */
export function agentMessage(node: AttestedNode, mask: AgentMask | undefined): Agent {
  const message: Agent = {
    id: idMessage(SpiffeId.parse(node.spiffeId)),
    attestationType: node.attestationType,
    x509svidSerialNumber: node.serialNumber,
    x509svidExpiresAt: node.notAfter,
    selectors: selectorMessages(node.selectors),
    banned: isBanned(node),
    canReattest: node.canReattest,
    agentVersion: node.agentVersion,
  };
  return maskedMessage(message, mask, Agent.fromPartial({}));
}
