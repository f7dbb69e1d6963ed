/** Checks of the agents that have joined. */
import { type Finding, ok, warn } from "#cli/doctor/finding.ts";
import type { Agent } from "#proto/spire/api/types/agent.ts";

const CHECK = "agents";
/** How many are named; the commands list all. */
const NAMED = 3;

/** @param now Unix seconds */
export function checkAgents(agents: readonly Agent[], now: number): Finding[] {
  const banned = agents.filter((agent) => agent.banned);
  const known = agents.filter((agent) => !agent.banned);
  const expired = known.filter(({ x509svidExpiresAt }) => x509svidExpiresAt <= now);
  const lost = expired.filter(({ canReattest }) => !canReattest);
  const away = expired.filter(({ canReattest }) => canReattest);
  return [
    ok(CHECK, `${known.length} have joined, ${banned.length} are banned${versionsText(known)}`),
    ...(lost.length === 0
      ? []
      : [
          warn(
            CHECK,
            `${expiredText(lost)}, and cannot join again by themselves`,
            "let those in again that are to stay (spire-server agent rejoin), and evict the others (spire-server agent evict)",
          ),
        ]),
    ...(away.length === 0
      ? []
      : [
          warn(
            CHECK,
            `${expiredText(away)}; they join again when they run and reach this server`,
            "look at those nodes; spire-server agent purge removes what is not to come back",
          ),
        ]),
  ];
}

function expiredText(agents: readonly Agent[]): string {
  const ids = agents.map(({ id }) => `spiffe://${id?.trustDomain}${id?.path}`).sort();
  const more = ids.length > NAMED ? " and more" : "";
  return `${agents.length} have an expired SVID (${ids.slice(0, NAMED).join(", ")}${more})`;
}

/** `; versions: 1.15.3 (2), unknown (1)` */
function versionsText(agents: readonly Agent[]): string {
  const counts = new Map<string, number>();
  for (const { agentVersion } of agents) {
    const version = agentVersion || "unknown";
    counts.set(version, (counts.get(version) ?? 0) + 1);
  }
  const shown = [...counts].sort().map(([version, count]) => `${version} (${count})`);
  return shown.length === 0 ? "" : `; versions: ${shown.join(", ")}`;
}
