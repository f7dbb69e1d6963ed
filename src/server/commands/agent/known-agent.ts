/** What the server knows of agents beyond the reference's API. A server of the reference knows nothing of it, and is asked in vain. */
import type { Agent } from "#proto/spire/api/types/agent.ts";
import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import type { Node } from "#proto/spire_edge/node/v1/node.ts";
import type { ServerConnection } from "#server/client/connection.ts";
import { idMessage, idText } from "#server/commands/id-message.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

/** `node` is beside the reference's fields in JSON, too. */
export type KnownAgent = Agent & { readonly node?: Omit<Node, "agentId"> };

/** @param agents a thousand at most */
export async function withNodes(
  { nodes }: ServerConnection,
  agents: readonly Agent[],
): Promise<KnownAgent[]> {
  const agentIds = agents.flatMap(({ id }) => (id === undefined ? [] : [id]));
  const described = await unlessUnknown(() => nodes("describeNodes", { agentIds }));
  return agents.map((agent, at) => {
    const found = described?.nodes[at];
    if (found === undefined) return agent;
    const { agentId: _, ...node } = found;
    return { ...agent, node };
  });
}

/**
 * The agent that -spiffeID names, by its own ID or by an alias.
 *
 * @throws Error for none, or for an alias that several agents go by
 */
export async function agentNamed(server: ServerConnection, text: string): Promise<SPIFFEID> {
  const id = idMessage(text);
  if (id.path.startsWith("/spire/agent/")) return id;
  const found = await unlessUnknown(() => server.nodes("findNodes", { spiffeId: id }));
  const [only, ...more] = found?.agentIds ?? [];
  if (only === undefined) return id;
  if (more.length === 0) return only;
  const some = [only, ...more].slice(0, SHOWN).map(idText).join(", ");
  const rest = more.length >= SHOWN ? ", …" : "";
  throw new Error(
    `${text} is an alias of ${more.length + 1} agents; name one of them: ${some}${rest}`,
  );
}

const SHOWN = 5;

async function unlessUnknown<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    // INVALID_ARGUMENT: an ID of another trust domain, which the call that follows refuses in its own words.
    const isKnown =
      error instanceof StatusError &&
      error.code !== StatusCode.UNIMPLEMENTED &&
      error.code !== StatusCode.INVALID_ARGUMENT;
    if (isKnown || !(error instanceof StatusError)) throw error;
    return undefined;
  }
}
