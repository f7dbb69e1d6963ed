import type { CallerIdentity } from "#server/api/call/caller-identity.ts";
import type { Exclusive } from "#server/api/call/exclusive.ts";
import { NOT_BEFORE_CUSHION_SECONDS } from "#server/ca/profile/profile.ts";
import type { AttestedNode, NodeChange, Nodes } from "#server/datastore/datastore.ts";
import type { LostTime } from "#server/restored.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import { type PermissionDeniedReason, StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { Certificate } from "#x509/certificate.ts";
import { isBanned } from "./convert-agent.ts";

/** The nodes, and who changes one at a time. */
export interface StandingParts {
  readonly nodes: Pick<Nodes, "find" | "update">;
  /** Keyed by agent ID. */
  readonly agentLocks: Exclusive;
  /** Of a server that came back from a backup: what was issued then is not in the datastore. */
  readonly lostTime: LostTime | undefined;
}

/**
 * Whether the caller is an agent in good standing: attested, not banned, and calling with the SVID handed out last.
 *
 * An agent that renewed its SVID keeps the old one until it has called once with the new one; from then on only the new
 * one counts. On a server that came back from a backup, so does one that was renewed after the backup was made.
 *
 * @param certificate the verified X509-SVID of the call
 * @throws StatusError PERMISSION_DENIED with the reason the agent acts on
 */
export async function checkAgentStanding(
  parts: StandingParts,
  id: SpiffeId,
  certificate: Certificate,
): Promise<void> {
  const changeOf = async (): Promise<NodeChange | undefined> =>
    promotion(await attestedNode(parts.nodes, id), id, certificate, parts.lostTime);
  if ((await changeOf()) === undefined) return;
  await parts.agentLocks.run(id.toString(), async () => {
    // Read again under the lock: a ban in between must not be undone by writing the new serial number over it.
    const change = await changeOf();
    if (change !== undefined) await parts.nodes.update(id.toString(), change);
  });
}

/** What becomes of a node that calls with this SVID: nothing, if it is the current one. @throws StatusError when it is not good */
function promotion(
  node: AttestedNode,
  id: SpiffeId,
  certificate: Certificate,
  lostTime: LostTime | undefined,
): NodeChange | undefined {
  const serialNumber = certificate.serialNumberDecimal;
  const { notAfter } = certificate;
  const none = { newSerialNumber: "", newNotAfter: 0 };
  if (lostTime !== undefined && wasRenewedIn(lostTime, node, certificate)) {
    return { serialNumber, notAfter, ...none };
  }
  if (isCurrent(node, id, serialNumber)) return undefined;
  return { serialNumber: node.newSerialNumber, notAfter: node.newNotAfter, ...none };
}

/** Only the newest is taken: one that was replaced in that time as well ends before the one that replaced it. */
function wasRenewedIn(lostTime: LostTime, node: AttestedNode, certificate: Certificate): boolean {
  const issuedAt = certificate.notBefore + NOT_BEFORE_CUSHION_SECONDS;
  return (
    !hasGoodSerial(node, certificate.serialNumberDecimal) &&
    issuedAt >= lostTime.from &&
    issuedAt <= lostTime.until &&
    certificate.notAfter > Math.max(node.notAfter, node.newNotAfter)
  );
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
