import type { Command } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { printable } from "#cli/printable.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { systemClock } from "#clock/clock.ts";
import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import type { ServerConnection } from "#server/client/connection.ts";
import { idMessage } from "#server/commands/id-message.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { agentBlock } from "./agent-block.ts";
import { nodeLines } from "./agent-table.ts";
import { agentNamed, withNodes } from "./known-agent.ts";

export const agentShow: Command = serverCommand({
  synopsis: "Shows an agent by its SPIFFE ID",
  flags: {
    spiffeID: stringFlag("The SPIFFE ID of the agent to show, or an alias of it"),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    checkGiven(flags.spiffeID);
    const connection = await server();
    const id = await agentNamed(connection, flags.spiffeID);
    const agent = await connection.agent("getAgent", { id, outputMask: undefined });
    const [found = agent] = await withNodes(connection, [agent]);
    printMessages(io, flags.output, [found], () => {
      io.out(`Found an attested agent given its SPIFFE ID\n\n${agentBlock(found)}`);
      for (const { type, value } of found.selectors) {
        io.out(`Selectors         : ${printable(`${type}:${value}`)}\n`);
      }
      if (io.isTerminal) io.out(nodeLines(found, systemClock.nowSeconds()));
    });
  },
});

export const agentEvict: Command = removal({
  synopsis: "Evicts an agent by its SPIFFE ID; it may join again",
  idHelp: "The SPIFFE ID of the agent to evict, or an alias of it",
  done: "Agent evicted successfully\n",
  remove: ({ agent }, id) => agent("deleteAgent", { id }),
});

export const agentBan: Command = removal({
  synopsis: "Bans an agent by its SPIFFE ID; it may not join again until evicted",
  idHelp: "The SPIFFE ID of the agent to ban, or an alias of it",
  done: "Agent banned successfully\n",
  remove: ({ agent }, id) => agent("banAgent", { id }),
});

function removal(spec: {
  readonly synopsis: string;
  readonly idHelp: string;
  readonly done: string;
  readonly remove: (server: ServerConnection, id: SPIFFEID) => Promise<object>;
}): Command {
  return serverCommand({
    synopsis: spec.synopsis,
    flags: { spiffeID: stringFlag(spec.idHelp), output: outputFlag() },
    run: async ({ flags, io, server }) => {
      checkGiven(flags.spiffeID);
      const connection = await server();
      const id = await agentNamed(connection, flags.spiffeID);
      const answer = await spec.remove(connection, id);
      printMessages(io, flags.output, [answer], () => io.out(spec.done));
    },
  });
}

/** Before the server is asked for anything, as the reference does. */
function checkGiven(text: string): void {
  if (text === "") throw new Error("a SPIFFE ID is required");
  idMessage(text);
}
