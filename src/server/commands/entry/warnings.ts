/**
 * What an operator should know of entries that were made, though they are in order: that nobody can have them, or more than was meant. Asked of
 * the server over the API that every server has; what it does not answer is not warned of.
 */
import type { Io } from "#cli/io.ts";
import { nearest } from "#config/nearest.ts";
import type { Entry } from "#proto/spire/api/types/entry.ts";
import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import type { ServerConnection } from "#server/client/connection.ts";
import { idText } from "#server/commands/id-message.ts";
import { isOfWorkloads, selectorAdvice } from "#server/entries/selector-advice.ts";
import { isForTheSame } from "#server/entries/shared-hint.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

const SERVER_PATH = "/spire/server";
const AGENT_PATHS = "/spire/agent/";
/** Of one command: with more, a file was made by a program, and the server is not to be asked a thousand times. */
const MAX_QUESTIONS = 50;
const PAGE_SIZE = 500;

const NO_FILTER = {
  byParentId: undefined,
  bySpiffeId: undefined,
  bySelectors: undefined,
  byFederatesWith: undefined,
  byHint: undefined,
  byDownstream: undefined,
};

/**
 * Prints a line for each thing that is odd on standard error.
 *
 * @param entries as they are, or as they will be; one may be the alias that is another one's parent
 */
export async function warnOfEntries(
  server: ServerConnection,
  entries: readonly Entry[],
  io: Io,
): Promise<void> {
  const parents = new Map(entries.map((entry) => [idText(entry.parentId), entry.parentId]));
  for (const { spiffeId } of entries) parents.delete(idText(spiffeId));
  const lines = [
    ...entries.flatMap(({ selectors, parentId }) =>
      selectorAdvice(selectors, parentId?.path === SERVER_PATH),
    ),
    ...(await answers([...parents.values()], (parent) => parentAdvice(server, parent))),
    ...(await answers(entries, (entry) => attestorAdvice(server, entry))),
    ...(await answers(entries, (entry) => hintAdvice(server, entry))),
  ];
  for (const line of new Set(lines)) io.err(`Warning: ${line}\n`);
}

async function answers<T>(
  items: readonly T[],
  ask: (item: T) => Promise<string | undefined>,
): Promise<string[]> {
  const lines: string[] = [];
  for (const item of items.slice(0, MAX_QUESTIONS)) {
    // What was asked for is done; that one cannot know whether it is odd is no failure.
    const line = await ask(item).catch(() => undefined);
    if (line !== undefined) lines.push(line);
  }
  return lines;
}

async function parentAdvice(
  server: ServerConnection,
  parent: SPIFFEID | undefined,
): Promise<string | undefined> {
  if (parent === undefined || parent.path === SERVER_PATH) return undefined;
  const shown = idText(parent);
  const isBanned = await standing(server, parent);
  if (isBanned === true) return `the parent ${shown} is a banned agent: nobody gets this entry`;
  if (isBanned === false || (await hasEntry(server, parent))) return undefined;
  const near = nearest(parent.path, await knownPaths(server));
  const meant = near === undefined ? "" : `; did you mean "spiffe://${parent.trustDomain}${near}"?`;
  return `the parent ${shown} is neither an agent nor an alias of one: nobody gets this entry until it is${meant}`;
}

/** Whether the agent is banned; undefined when there is none with that ID. */
async function standing({ agent }: ServerConnection, id: SPIFFEID): Promise<boolean | undefined> {
  if (!id.path.startsWith(AGENT_PATHS)) return undefined;
  try {
    return (await agent("getAgent", { id, outputMask: undefined })).banned;
  } catch (error) {
    if (error instanceof StatusError && error.code === StatusCode.NOT_FOUND) return undefined;
    throw error;
  }
}

async function hasEntry({ entry }: ServerConnection, spiffeId: SPIFFEID): Promise<boolean> {
  const { entries } = await entry("listEntries", {
    filter: { ...NO_FILTER, bySpiffeId: spiffeId },
    outputMask: undefined,
    pageSize: 1,
    pageToken: "",
  });
  return entries.length > 0;
}

/** Of some agents and aliases, for the likeness to one of them. */
async function knownPaths({ agent, entry }: ServerConnection): Promise<string[]> {
  const page = { filter: undefined, outputMask: undefined, pageSize: PAGE_SIZE, pageToken: "" };
  const [{ agents }, { entries }] = await Promise.all([
    agent("listAgents", page),
    entry("listEntries", page),
  ]);
  const aliases = entries.filter(({ parentId }) => (parentId?.path ?? "").startsWith("/spire/"));
  return [...agents.map(({ id }) => id), ...aliases.map(({ spiffeId }) => spiffeId)].map(
    (id) => id?.path ?? "",
  );
}

async function hintAdvice(
  { entry }: ServerConnection,
  { id, parentId, hint, selectors }: Entry,
): Promise<string | undefined> {
  if (hint === "") return undefined;
  const { entries } = await entry("listEntries", {
    filter: { ...NO_FILTER, byParentId: parentId, byHint: hint },
    outputMask: undefined,
    pageSize: PAGE_SIZE,
    pageToken: "",
  });
  const other = entries.find((one) => one.id !== id && isForTheSame(one.selectors, selectors));
  if (other === undefined) return undefined;
  return `entry ${other.id} (${idText(other.spiffeId)}) has the hint ${JSON.stringify(hint)} as well: a workload that both are for gets the older one alone`;
}

/** Nodes tell a server of ours which workload attestors they have; one of the reference's knows nothing of it. */
async function attestorAdvice(
  { nodes }: ServerConnection,
  { parentId, selectors }: Entry,
): Promise<string | undefined> {
  if (parentId === undefined || parentId.path === SERVER_PATH) return undefined;
  const { agentIds } = await nodes("findNodes", { spiffeId: parentId });
  const described = (await nodes("describeNodes", { agentIds })).nodes;
  const telling = described.filter(({ attestors }) => attestors.length > 0);
  if (telling.length === 0 || telling.length < described.length) return undefined;
  const all = new Set(telling.flatMap(({ attestors }) => attestors));
  const lacking = selectors.find(({ type }) => isOfWorkloads(type) && !all.has(type));
  if (lacking === undefined) return undefined;
  const shown = JSON.stringify(`${lacking.type}:${lacking.value}`);
  return `selector ${shown}: the node has no workload attestor ${lacking.type}, only ${[...all].sort().join(" and ")}`;
}
