/** An explanation for people: what was found, what it leads to, and what stands in the way. */
import { utcTime } from "#cli/go-time.ts";
import { printable } from "#cli/printable.ts";
import { formatDuration } from "#config/duration.ts";
import {
  type AttestorAnswer,
  type Explanation,
  type Failure,
  type Identity,
  X509Svid_Limit as Limit,
  x509Svid_LimitToJSON as limitName,
  type NearEntry,
  X509Svid_State as State,
  x509Svid_StateToJSON as stateName,
  type X509Svid,
} from "#proto/spire_edge/explain/v1/explain.ts";

const NO_SELECTORS = "No attestor could say anything of the process, so no entry can match it.";
const ASK_OPERATOR =
  "Why other entries do not match is for the operator to see: spire-agent api explain -pid PID, on the admin socket.";

/** The explanation with states by their names, as JSON is to have them. */
export function withStateNames(explanation: Explanation): object {
  const identities = explanation.identities.map(({ x509Svid: svid, ...identity }) => ({
    ...identity,
    x509Svid: svid && { ...svid, state: stateName(svid.state), limit: limitName(svid.limit) },
  }));
  return { ...explanation, identities };
}

export function explanationText(explanation: Explanation): string {
  const { pid, attestors, agent } = explanation;
  const found = new Set(attestors.flatMap(({ selectors }) => selectors));
  const parts = [
    [`Process ${pid}`],
    ...attestors.map(attestorLines),
    ...identityParts(explanation, found),
    serverLines(explanation),
    ...(agent === undefined ? [] : [agentLines(agent)]),
  ];
  return `${parts.map((lines) => lines.map(printable).join("\n")).join("\n\n")}\n`;
}

function attestorLines({ name, selectors, error, omissions }: AttestorAnswer): string[] {
  if (error !== "") return [`WorkloadAttestor ${name} found nothing:`, `    ${error}`];
  const found = selectors.length === 0 ? "found nothing" : "found";
  return [
    `WorkloadAttestor ${name} ${found}:`,
    ...selectors.map((one) => `    ${one}`),
    ...omissions.map(({ selector, reason, temporary }) => {
      const when = temporary ? "not at present" : "not given";
      return `    ${selector} ${when}: ${reason}`;
    }),
  ];
}

function identityParts(explanation: Explanation, found: ReadonlySet<string>): string[][] {
  const { identities, nearEntries, entriesCount, agent } = explanation;
  if (found.size === 0) return [[NO_SELECTORS]];
  const matching = identities.map(identityLines);
  if (agent === undefined) {
    const none = [["No entry matches: the process has no identity.", ASK_OPERATOR]];
    return matching.length === 0 ? none : [["Entries that match:"], ...matching];
  }
  return [
    [`Entries that match: ${identities.length} of the ${entriesCount} that the agent has`],
    ...matching,
    ...(nearEntries.length === 0 ? [] : [["Entries that do not match, the nearest first:"]]),
    ...nearEntries.map((near) => nearLines(near, found)),
    ...(identities.length === 0 ? [absentLines(agent.spiffeId)] : []),
  ];
}

function absentLines(agentId: string): string[] {
  return [
    "An entry that is not among these has another parent than this agent. The agent gets entries whose parent is",
    `    ${agentId}`,
    "or an alias or a workload of it: spire-server entry show -spiffeID ID prints what an entry's parent is.",
  ];
}

function identityLines(identity: Identity) {
  const { spiffeId, entryId, hint, leftOutFor, selectors, x509Svid, jwtSvids } = identity;
  return [
    `  ${spiffeId}`,
    `    Entry ID   : ${entryId}`,
    ...(hint === "" ? [] : [`    Hint       : ${hint}`]),
    ...(leftOutFor === ""
      ? []
      : [`    Left out   : entry ${leftOutFor} has this hint already; give one of them another`]),
    ...selectors.map((one) => `    Selector   : ${one}`),
    ...(x509Svid === undefined ? [] : svidLines(x509Svid)),
    ...jwtSvids.map(({ audience, expiresAt }) => {
      const whom = audience.length === 0 ? "" : ` for ${audience.join(", ")}`;
      return `    JWT-SVID   : cached${whom}, expires ${utcTime(expiresAt)}`;
    }),
  ];
}

const STATES: Readonly<Record<State, string>> = {
  [State.UNSPECIFIED]: "unknown",
  [State.CACHED]: "cached",
  [State.BEING_ISSUED]: "being issued",
  [State.AWAITED]: "to be issued",
  [State.ON_DEMAND]: "issued when the workload asks for it",
  [State.UNRECOGNIZED]: "unknown",
};

/** What set the lifetime. */
const LIMITS: Readonly<Record<Limit, string>> = {
  [Limit.UNKNOWN]: "",
  [Limit.ENTRY]: ", as the entry's x509SVIDTTL says",
  [Limit.SERVER_DEFAULT]: ", the server's default_x509_svid_ttl",
  [Limit.AUTHORITY]: ", cut short: the CA that signed it ends then (the server's ca_ttl)",
  [Limit.UNRECOGNIZED]: "",
};

function svidLines(svid: X509Svid): string[] {
  const { state, expiresAt, renewAt, beginsAt, failure, lifetime, limit } = svid;
  const isCached = state === State.CACHED;
  const until = isCached ? `, expires ${utcTime(expiresAt)}, replaced ${utcTime(renewAt)}` : "";
  return [
    `    X509-SVID  : ${STATES[state]}${until}`,
    ...(lifetime === 0 ? [] : [`    Lifetime   : ${formatDuration(lifetime)}${LIMITS[limit]}`]),
    ...(beginsAt === 0 ? [] : [`    Next one   : begins ${utcTime(beginsAt)}`]),
    ...failureLines("    Last try  ", failure),
  ];
}

function failureLines(label: string, failure: Failure | undefined): string[] {
  if (failure === undefined) return [];
  const again = failure.retryAt === 0 ? "" : `; again ${utcTime(failure.retryAt)}`;
  return [`${label} : failed ${utcTime(failure.failedAt)}${again}: ${failure.error}`];
}

function nearLines({ spiffeId, entryId, has, lacks }: NearEntry, found: ReadonlySet<string>) {
  return [
    `  ${spiffeId}`,
    `    Entry ID   : ${entryId}`,
    ...has.map((one) => `    Has        : ${one}`),
    ...lacks.map((one) => `    Lacks      : ${one}${instead(one, found)}`),
  ];
}

/** What the process has of the same kind, if anything. */
function instead(lacking: string, found: ReadonlySet<string>): string {
  const kind = lacking.replace(/^([^:]*:[^:]*:).*$/s, "$1");
  const others = [...found].filter((one) => one.startsWith(kind));
  return others.length === 0 || kind === lacking ? "" : ` (it has ${others.join(", ")})`;
}

function serverLines({ server, agent }: Explanation): string[] {
  if (server === undefined) return [];
  const reachable = server.reachable ? "reachable" : "cannot be reached";
  if (agent === undefined) return [`Server: ${reachable}`];
  const synced = server.lastSyncSuccess === 0 ? "never" : utcTime(server.lastSyncSuccess);
  const how = server.tellsChanges
    ? "told by the server as they happen"
    : "asked for again and again";
  return [
    `Server ${server.address}`,
    `    Reachable  : ${server.reachable ? "yes" : "no"}`,
    `    Last sync  : ${synced}`,
    `    Changes    : ${how}`,
    ...failureLines("    Last try  ", server.failure),
  ];
}

function agentLines({ spiffeId, expiresAt, renewAt, failure }: NonNullable<Explanation["agent"]>) {
  return [
    `Agent ${spiffeId}`,
    `    X509-SVID  : expires ${utcTime(expiresAt)}, replaced ${utcTime(renewAt)}`,
    ...failureLines("    Last try  ", failure),
  ];
}
