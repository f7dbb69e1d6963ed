/** Which node it is that attests: by which IDs it may be known, and what the server knows of it. */
import type { NodeAttestation } from "#attestors/attestor.ts";
import { attempt } from "#server/api/call/api-call.ts";
import type { AttestedNode } from "#server/datastore/datastore.ts";
import { failure } from "#server/message/failure.ts";
import { isAgentId } from "#spiffe/reserved-id.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { AttestAgentParts } from "./attest-agent.ts";
import { isBanned } from "./convert-agent.ts";

/** The ID that the attestor gives the node, then those that are as good. */
export type AgentIds = readonly [SpiffeId, ...SpiffeId[]];

export function checkedAgentIds(
  parts: Pick<AttestAgentParts, "trustDomain">,
  attestation: NodeAttestation,
): AgentIds {
  const { agentId, otherIds = [] } = attestation;
  return [checkedAgentId(parts, agentId), ...otherIds.map((id) => checkedAgentId(parts, id))];
}

/** An attestor that names anything but an agent of this trust domain is broken, and gets nobody in. */
function checkedAgentId(
  { trustDomain }: Pick<AttestAgentParts, "trustDomain">,
  agentId: string,
): SpiffeId {
  let id: SpiffeId;
  try {
    id = SpiffeId.parse(agentId);
  } catch (error) {
    throw failure(StatusCode.INTERNAL, "invalid agent ID", error);
  }
  if (!id.memberOf(trustDomain) || !isAgentId(id)) {
    throw new StatusError(
      StatusCode.INTERNAL,
      `invalid agent ID: "${id}" is not an agent in trust domain "${trustDomain}"`,
    );
  }
  return id;
}

/**
 * What is known of the node, under whichever of its IDs; banned under one of them, it is banned. Runs under the locks of all, so that a ban that
 * comes meanwhile is not overwritten.
 *
 * @throws StatusError PERMISSION_DENIED for a banned node, and for an ID that belongs to a node of another attestor: what a certificate says may
 *   have become part of the ID
 */
export async function knownNode(
  { nodes }: Pick<AttestAgentParts, "nodes">,
  attestationType: string,
  ids: AgentIds,
): Promise<AttestedNode | undefined> {
  const found: AttestedNode[] = [];
  for (const id of ids) {
    const node = await attempt("failed to fetch agent", () => nodes.find(id.toString()));
    if (node !== undefined) found.push(node);
  }
  if (found.some(isBanned)) {
    throw new StatusError(StatusCode.PERMISSION_DENIED, "failed to attest: agent is banned");
  }
  const other = found.find((node) => node.attestationType !== attestationType);
  if (other !== undefined) {
    throw new StatusError(
      StatusCode.PERMISSION_DENIED,
      `failed to attest: agent "${other.spiffeId}" was attested by ${other.attestationType}; it must be evicted before ${attestationType} can let it in`,
    );
  }
  return found[0];
}
