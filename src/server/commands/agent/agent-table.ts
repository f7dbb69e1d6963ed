/** Agents as a table, for whoever sits at a terminal. */
import { printable } from "#cli/printable.ts";
import { shortDuration, tableText } from "#cli/table.ts";
import { idText } from "#server/commands/id-message.ts";
import type { KnownAgent } from "./known-agent.ts";

const HEADING = ["NODE", "HOST", "ADDRESS", "VERSION", "ATTESTED BY", "LAST SEEN", "EXPIRES IN"];

/** @param now Unix seconds */
export function agentTable(agents: readonly KnownAgent[], now: number): string {
  const rows = agents.map((agent) => [
    nameOf(agent),
    agent.node?.hostName ?? "",
    agent.node?.address ?? "",
    agent.agentVersion,
    agent.attestationType,
    lastSeen(agent, now),
    expiry(agent, now),
  ]);
  return tableText(HEADING, rows);
}

/** Further lines of an agent's block, for a terminal. */
export function nodeLines({ node }: KnownAgent, now: number): string {
  if (node === undefined) return "";
  const rows: readonly (readonly [string, string])[] = [
    ...node.aliases.map((alias) => ["Alias", alias] as const),
    ["Host name", node.hostName],
    ["Address", node.address],
    ["Last seen", seenText(node.lastSeenAt, now)],
    ["Attestors", node.attestors.join(", ")],
  ];
  return rows
    .filter(([, value]) => value !== "")
    .map(([label, value]) => `${label.padEnd(18)}: ${printable(value)}\n`)
    .join("");
}

/** An alias says more than the ID of a join token; either names the node in other commands. */
function nameOf({ id, node }: KnownAgent): string {
  const aliases = node?.aliases ?? [];
  return aliases.length === 0 ? idText(id) : aliases.join(",");
}

function lastSeen({ node }: KnownAgent, now: number): string {
  return node === undefined ? "" : seenText(node.lastSeenAt, now);
}

function seenText(at: number, now: number): string {
  if (at === 0) return "";
  return now - at < 1 ? "now" : `${shortDuration(now - at)} ago`;
}

function expiry({ banned, x509svidExpiresAt }: KnownAgent, now: number): string {
  if (banned) return "banned";
  const left = x509svidExpiresAt - now;
  return left > 0 ? shortDuration(left) : `expired ${shortDuration(-left)} ago`;
}

/** By which -sort orders; what is not known comes last. */
const KEYS = {
  node: nameOf,
  host: ({ node }: KnownAgent) => node?.hostName ?? "",
  address: ({ node }: KnownAgent) => node?.address ?? "",
  version: ({ agentVersion }: KnownAgent) => agentVersion,
  type: ({ attestationType }: KnownAgent) => attestationType,
  seen: ({ node }: KnownAgent) => -(node?.lastSeenAt ?? 0),
  expires: ({ x509svidExpiresAt }: KnownAgent) => x509svidExpiresAt,
} as const;

export const SORT_WORDS: readonly string[] = Object.keys(KEYS);

/** @throws Error for a word that is none */
export function sorted(agents: readonly KnownAgent[], by: string): KnownAgent[] {
  if (!Object.hasOwn(KEYS, by)) {
    throw new Error(
      `agents cannot be sorted by ${JSON.stringify(by)}: choose ${SORT_WORDS.join(", ")}`,
    );
  }
  const key = KEYS[by as keyof typeof KEYS];
  return [...agents].sort((a, b) => compare(key(a), key(b)));
}

function compare(a: string | number, b: string | number): number {
  if (a === b) return 0;
  if (a === "" || b === "") return a === "" ? 1 : -1;
  return a < b ? -1 : 1;
}
