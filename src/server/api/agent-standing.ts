import type { AttestedNode, Nodes } from "#server/datastore/datastore.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import { type PermissionDeniedReason, StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Certificate } from "#x509/certificate.ts";
import type { CallerIdentity } from "./caller-identity.ts";
import { isBanned } from "./convert-agent.ts";
import type { Exclusive } from "./exclusive.ts";

/** The nodes, and who changes one at a time. */
export interface StandingParts {
  readonly nodes: Pick<Nodes, "find" | "update">;
  /** Keyed by agent ID. */
  readonly agentLocks: Exclusive;
}

/**
 * Whether the caller is an agent in good standing: attested, not banned, and calling with the SVID handed out last.
 *
 * An agent that renewed its SVID keeps the old one until it has called once with the new one; from then on only the new
 * one counts.
 *
 * @param certificate the verified X509-SVID of the call
 * @throws StatusError PERMISSION_DENIED with the reason the agent acts on
 */
export async function checkAgentStanding(
  parts: StandingParts,
  id: SpiffeId,
  certificate: Certificate,
): Promise<void> {
  const serial = certificate.serialNumberDecimal;
  if (isCurrent(await attestedNode(parts.nodes, id), id, serial)) return;
  await parts.agentLocks.run(id.toString(), async () => {
    // Read again under the lock: a ban in between must not be undone by writing the new serial number over it.
    const node = await attestedNode(parts.nodes, id);
    if (isCurrent(node, id, serial)) return;
    await parts.nodes.update(node.spiffeId, {
      serialNumber: node.newSerialNumber,
      notAfter: node.newNotAfter,
      newSerialNumber: "",
      newNotAfter: 0,
    });
  });
}

/** Whether an SVID with this serial number is the node's current or its new one; a banned node has neither. */
export function hasGoodSerial(
  { serialNumber, newSerialNumber }: AttestedNode,
  serial: string,
): boolean {
  return serialNumber === serial || newSerialNumber === serial;
}

/**
 * Looks again, later in a call, whether the calling agent is in good standing. For whoever holds the agent's lock and is about
 * to write.
 *
 * @throws StatusError PERMISSION_DENIED with the reason the agent acts on
 */
export async function checkStillActive(
  nodes: Pick<Nodes, "find">,
  identity: CallerIdentity,
): Promise<void> {
  if (identity.kind !== "spiffe") throw new Error("only an agent has a standing");
  const { id, certificate } = identity;
  isCurrent(await attestedNode(nodes, id), id, certificate.serialNumberDecimal);
}

async function attestedNode(nodes: Pick<Nodes, "find">, id: SpiffeId): Promise<AttestedNode> {
  const node = await nodes.find(id.toString());
  if (node === undefined) throw denied("AGENT_NOT_ATTESTED", `agent "${id}" is not attested`);
  if (isBanned(node)) throw denied("AGENT_BANNED", `agent "${id}" is banned`);
  return node;
}

/** True for the current serial number, false for the new one. @throws StatusError for any other */
function isCurrent(node: AttestedNode, id: SpiffeId, serial: string): boolean {
  if (hasGoodSerial(node, serial)) return node.serialNumber === serial;
  throw denied(
    "AGENT_NOT_ACTIVE",
    `agent "${id}" expected to have serial number "${node.serialNumber}"; has "${serial}"`,
  );
}

function denied(reason: PermissionDeniedReason, message: string): StatusError {
  return new StatusError(StatusCode.PERMISSION_DENIED, message, { reason });
}
