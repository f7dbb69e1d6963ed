import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import { isAgentId, isReservedId } from "#spiffe/reserved-id.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";

/** The SPIFFE ID as a message. */
export function idMessage(id: SpiffeId): SPIFFEID {
  return { trustDomain: id.trustDomain.name, path: id.path };
}

/**
 * Reads a SPIFFE ID from its message.
 *
 * @throws Error or SpiffeIdError in the words of the reference
 */
function idFromMessage(message: SPIFFEID | undefined): SpiffeId {
  if (message === undefined) throw new Error("request must specify SPIFFE ID");
  return SpiffeId.of(TrustDomain.parse(message.trustDomain), message.path);
}

/** Reads the ID of anything inside the trust domain. @throws Error */
export function memberIdFrom(trustDomain: TrustDomain, message: SPIFFEID | undefined): SpiffeId {
  const id = idFromMessage(message);
  checkMember(trustDomain, id, "a member of");
  return id;
}

/** Reads the ID of an agent of the trust domain. @throws Error */
export function agentIdFrom(trustDomain: TrustDomain, message: SPIFFEID | undefined): SpiffeId {
  const id = idFromMessage(message);
  checkMember(trustDomain, id, "an agent in");
  if (!isAgentId(id)) {
    throw new Error(
      `"${id}" is not an agent in trust domain "${trustDomain}"; path is not in the agent namespace`,
    );
  }
  return id;
}

/** Reads the ID of a workload of the trust domain. @throws Error */
export function workloadIdFrom(trustDomain: TrustDomain, message: SPIFFEID | undefined): SpiffeId {
  const id = idFromMessage(message);
  checkWorkloadId(trustDomain, id);
  return id;
}

/** Refuses an ID that is not of the trust domain, or that is kept for servers and agents. @throws Error */
export function checkWorkloadId(trustDomain: TrustDomain, id: SpiffeId): void {
  checkMember(trustDomain, id, "a workload in");
  if (isReservedId(id)) {
    throw new Error(
      `"${id}" is not a workload in trust domain "${trustDomain}"; path is in the reserved namespace`,
    );
  }
}

function checkMember(trustDomain: TrustDomain, id: SpiffeId, role: string): void {
  if (!id.memberOf(trustDomain)) {
    throw new Error(`"${id}" is not a member of trust domain "${trustDomain}"`);
  }
  if (id.path === "") {
    throw new Error(`"${id}" is not ${role} trust domain "${trustDomain}"; path is empty`);
  }
}
