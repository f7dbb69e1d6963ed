/** What `systemctl status` shows of the agent. */

import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type { AgentConfig } from "#agent/config/config.ts";
import type { Clock } from "#clock/clock.ts";
import { momentText, type StatusSource } from "#notify/status-line.ts";
import { formatHostPort } from "#spiffe/host-port.ts";
import type { Membership } from "./membership.ts";

export interface AgentStatusParts {
  readonly config: Pick<AgentConfig, "trustDomain" | "serverAddress" | "serverPort">;
  readonly cache: Pick<
    WorkloadCache,
    "entries" | "svidCount" | "renewAt" | "isServerAway" | "onChange"
  >;
  readonly membership: Pick<
    Membership,
    "joinProblem" | "rotatesAt" | "lastSyncSuccess" | "status" | "whenChanged"
  >;
  readonly clock: Clock;
}

export function agentStatus(parts: AgentStatusParts): StatusSource {
  const { config, cache, membership } = parts;
  const { trustDomain, serverAddress, serverPort } = config;
  const text = async (): Promise<string> =>
    [
      `Agent of trust domain ${trustDomain.name}`,
      `server ${formatHostPort({ host: serverAddress, port: serverPort })} ${reached(parts)}`,
      `entries: ${cache.entries.size}`,
      `X509-SVIDs: ${cache.svidCount}`,
      `next rotation ${nextRotation(parts)}`,
    ].join("; ");
  const onChange = (listener: () => void): (() => void) => {
    membership.whenChanged(listener);
    return cache.onChange(listener);
  };
  return { text, onChange };
}

/** Until the agent has joined. @param reason why the last try failed; empty before the first one */
export function joiningText(
  { serverAddress, serverPort }: Pick<AgentConfig, "serverAddress" | "serverPort">,
  reason: string,
): string {
  return `Joining ${formatHostPort({ host: serverAddress, port: serverPort })}${because(reason)}`;
}

function reached({ cache, membership }: AgentStatusParts): string {
  const { rotatesAt, lastSyncSuccess, joinProblem, status } = membership;
  if (rotatesAt === undefined) return `not joined${because(joinProblem)}`;
  const why = because(status?.failure?.error ?? "");
  if (lastSyncSuccess === 0) return `not reached yet${why}`;
  if (!cache.isServerAway) return "connected";
  return `away, last reached ${momentText(lastSyncSuccess)}${why}`;
}

function because(reason: string): string {
  return reason === "" ? "" : `: ${reason}`;
}

/** Of the agent's own SVID or of a workload's, whichever comes first. */
function nextRotation({ cache, membership, clock }: AgentStatusParts): string {
  const at = Math.min(membership.rotatesAt ?? Number.POSITIVE_INFINITY, cache.renewAt);
  if (at === Number.POSITIVE_INFINITY) return "none";
  return at <= clock.nowSeconds() ? "now" : momentText(Math.floor(at));
}
