import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { CreateJoinTokenRequest } from "#proto/spire/api/server/agent/v1/agent.ts";
import type { JoinToken } from "#proto/spire/api/types/jointoken.ts";
import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import { type ApiCall, attempt } from "#server/api/call/api-call.ts";
import type { AuditTrail } from "#server/api/call/audit-trail.ts";
import type { Entries, JoinTokens } from "#server/datastore/datastore.ts";
import { workloadIdFrom } from "#server/message/convert-id.ts";
import { invalidArgument } from "#server/message/failure.ts";
import { agentId } from "#spiffe/reserved-id.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";

export interface JoinTokenParts {
  readonly trustDomain: TrustDomain;
  readonly joinTokens: JoinTokens;
  readonly entries: Entries;
  readonly clock: Clock;
  readonly random: Random;
}

/** Makes a join token; with an ID, also the entry by which the agent that joins gets that ID for its children. */
export async function createJoinToken(
  parts: JoinTokenParts,
  request: CreateJoinTokenRequest,
  { audit }: ApiCall,
): Promise<JoinToken> {
  const expiresAt = expiryOf(parts, request, audit);
  const alias = request.agentId === undefined ? undefined : readAlias(parts, request.agentId);
  if (alias !== undefined) audit.add({ spiffe_id: alias.toString() });
  const value = request.token === "" ? parts.random.uuid() : request.token;
  const joiner = readJoinerId(parts, value);
  await attempt(
    "failed to create token",
    () => parts.joinTokens.create({ token: value, expiresAt }),
    StatusCode.INTERNAL,
  );
  if (alias !== undefined) {
    await attempt(
      "failed to create join token registration entry",
      () => createAliasEntry(parts, joiner, alias),
      StatusCode.INTERNAL,
    );
  }
  return { value, expiresAt };
}

/** When a token ends that is asked for now, in Unix seconds. */
export function expiryOf(
  { clock }: Pick<JoinTokenParts, "clock">,
  { ttl }: { readonly ttl: number },
  audit: AuditTrail,
): number {
  if (ttl < 1) throw invalidArgument("ttl is required, you must provide one");
  audit.add({ ttl });
  return clock.nowSeconds() + ttl;
}

function readAlias({ trustDomain }: JoinTokenParts, message: SPIFFEID): SpiffeId {
  try {
    return workloadIdFrom(trustDomain, message);
  } catch (error) {
    throw invalidArgument("invalid agent ID", error);
  }
}

/** A token that cannot stand in a SPIFFE ID could never be used; better to hear it now. The token itself stays unsaid. */
export function readJoinerId(
  { trustDomain }: Pick<JoinTokenParts, "trustDomain">,
  token: string,
): SpiffeId {
  try {
    if (!token.includes("/")) return agentId(trustDomain, `join_token/${token}`);
  } catch {
    // The cause would quote the token.
  }
  throw invalidArgument(
    "the token cannot be part of a SPIFFE ID: it may hold letters, numbers, dots, dashes and underscores",
  );
}

/**
 * The alias is a child of the agent that will join, and names it as its selector: by that pair the store knows which
 * entry goes when the agent goes.
 */
async function createAliasEntry(
  { entries, random, clock }: JoinTokenParts,
  joiner: SpiffeId,
  alias: SpiffeId,
): Promise<void> {
  const [outcome] = await entries.create([
    {
      id: random.uuid(),
      spiffeId: alias,
      parentId: joiner,
      selectors: [{ type: "spiffe_id", value: joiner.toString() }],
      x509SvidTtl: 0,
      jwtSvidTtl: 0,
      federatesWith: [],
      admin: false,
      downstream: false,
      storeSvid: false,
      expiresAt: 0,
      dnsNames: [],
      hint: "",
      createdAt: clock.nowSeconds(),
      revisionNumber: 0,
      disableX509SvidPrefetch: false,
      jwtSvidIncludeJti: false,
    },
  ]);
  if (outcome instanceof Error) throw outcome;
}
