import { SpiffeId } from "./spiffe-id.ts";
import type { TrustDomain } from "./trust-domain.ts";

/** `spiffe://TD/spire/server`: what a server's certificate must name, and the parent of node aliases. */
export function serverId(trustDomain: TrustDomain): SpiffeId {
  return SpiffeId.of(trustDomain, "/spire/server");
}

/**
 * The ID of an attested agent, `spiffe://TD/spire/agent/<suffix>`.
 *
 * @param suffix what the attestor chose, for instance `join_token/<token>`
 */
export function agentId(trustDomain: TrustDomain, suffix: string): SpiffeId {
  return SpiffeId.of(trustDomain, `/spire/agent/${suffix}`);
}

/** Whether the ID lies under `/spire`, the part of the path that is kept for servers and agents. */
export function isReservedId(id: SpiffeId): boolean {
  return id.path === "/spire" || id.path.startsWith("/spire/");
}

/** Whether the ID names an agent (`/spire/agent/…`). */
export function isAgentId(id: SpiffeId): boolean {
  return id.path.startsWith("/spire/agent/");
}
