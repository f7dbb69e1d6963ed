/** The answer of the Explain service, put together from what the agent knows. */
import type { AttestorAnswer } from "#agent/attestation/workload-attestation.ts";
import type { Identity } from "#agent/cache/subscription.ts";
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import type { Failure } from "#agent/own-svid/failure.ts";
import type { JwtSvids } from "#agent/sync/jwt-svids.ts";
import type { IssuanceStatus } from "#agent/sync/svid-issuer.ts";
import type { SyncStatus } from "#agent/sync/synchronizer.ts";
import { leftOutFor } from "#agent/workload-api/hints.ts";
import type { Clock } from "#clock/clock.ts";
import {
  type Agent as AgentMessage,
  type AttestorAnswer as AttestorMessage,
  type Failure as FailureMessage,
  type Identity as IdentityMessage,
  type Server as ServerMessage,
  X509Svid_State as State,
  type X509Svid as X509SvidMessage,
} from "#proto/spire_edge/explain/v1/explain.ts";
import { errorText } from "#spiffe/status-error.ts";
import { lifetimeOf } from "./lifetime.ts";

/** Who asks. To the operator all is told; to a workload what it is itself, and nothing of others, of this node or of its server. */
export type Audience = "operator" | "workload";

export interface Knowledge {
  readonly cache: WorkloadCache;
  readonly jwtSvids: Pick<JwtSvids, "of">;
  readonly server: {
    /** Undefined while the agent waits to be let in again. */
    readonly status: SyncStatus | undefined;
    issuanceStatus(entry: WorkloadEntry): IssuanceStatus;
  };
  readonly clock: Clock;
}

/** Why something failed may name the server, its address, or what else is on the node: to a workload, where to look for it is told instead. */
const IN_THE_LOG = "the agent's log says why";

export function attestorMessage(answer: AttestorAnswer, audience: Audience): AttestorMessage {
  const { name, selectors, omissions, error } = answer;
  return {
    name,
    selectors: [...selectors].sort(),
    omissions: omissions.map(({ selector, reason, isTemporary }) => ({
      selector,
      reason,
      temporary: isTemporary,
    })),
    error: error === undefined ? "" : told(errorText(error), audience),
  };
}

/** @param identities what the cache has for the process */
export function identityMessages(
  { cache, jwtSvids, server, clock }: Knowledge,
  identities: readonly Identity[],
  audience: Audience,
): IdentityMessage[] {
  const isMissing = identities.some(({ svid }) => svid === undefined);
  const due = isMissing ? cache.dueForIssue(clock.nowSeconds()) : undefined;
  const awaited = new Set([...(due?.urgent ?? []), ...(due?.routine ?? [])]);
  const leftOut = leftOutFor(identities);
  return identities.map(({ entry, svid }) => {
    const issuanceStatus = server.issuanceStatus(entry);
    const missing = issuanceStatus.isUnderWay ? State.BEING_ISSUED : stateOf(awaited.has(entry));
    return {
      spiffeId: entry.spiffeId.toString(),
      entryId: entry.id,
      hint: entry.hint,
      selectors: [...entry.selectors],
      leftOutFor: leftOut.get(entry)?.id ?? "",
      x509Svid: {
        ...x509SvidMessage(svid, svid === undefined ? missing : State.CACHED, issuanceStatus),
        failure: failureMessage(issuanceStatus.failure, audience),
        ...lifetimeOf(entry, svid, cache.ownBundle?.bundle),
      },
      jwtSvids: jwtSvids.of(entry).map((kept) => ({
        // Other processes of the same identity may have asked for it.
        audience: audience === "operator" ? [...kept.audience] : [],
        expiresAt: kept.expiresAt,
      })),
    };
  });
}

function stateOf(isAwaited: boolean): State {
  return isAwaited ? State.AWAITED : State.ON_DEMAND;
}

function x509SvidMessage(
  svid: Identity["svid"],
  state: State,
  { beginsAt = 0 }: IssuanceStatus,
): Omit<X509SvidMessage, "lifetime" | "limit" | "failure"> {
  return {
    state,
    expiresAt: svid?.notAfter ?? 0,
    renewAt: svid?.renewAt ?? 0,
    beginsAt,
  };
}

export function serverMessage(
  { cache, server: { status } }: Knowledge,
  audience: Audience,
): ServerMessage {
  const reachable = status !== undefined && status.lastSyncSuccess > 0 && !cache.isServerAway;
  const isTold = audience === "operator" && status !== undefined;
  return {
    reachable,
    address: isTold ? status.address : "",
    lastSyncSuccess: isTold ? status.lastSyncSuccess : 0,
    tellsChanges: isTold && status.tellsChanges,
    failure: isTold ? failureMessage(status.failure, audience) : undefined,
  };
}

export function agentMessage({ server: { status } }: Knowledge): AgentMessage | undefined {
  if (status === undefined) return undefined;
  const { id, expiresAt, renewAt, failure } = status.own;
  return { spiffeId: id, expiresAt, renewAt, failure: failureMessage(failure, "operator") };
}

function failureMessage(
  failure: Failure | undefined,
  audience: Audience,
): FailureMessage | undefined {
  if (failure === undefined) return undefined;
  const { error, failedAt, retryAt } = failure;
  return { error: told(error, audience), failedAt, retryAt: retryAt > failedAt ? retryAt : 0 };
}

const told = (why: string, audience: Audience): string =>
  audience === "operator" ? why : IN_THE_LOG;
