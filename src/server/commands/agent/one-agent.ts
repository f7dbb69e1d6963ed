import type { Command } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { printable } from "#cli/printable.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import type { SPIFFEID } from "#grpc/gen/spire/api/types/spiffeid.ts";
import type { ServerConnection } from "#server/commands/connection.ts";
import { idMessage } from "#server/commands/id-message.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { agentBlock } from "./agent-block.ts";

export const agentShow: Command = serverCommand({
  synopsis: "Shows an agent by its SPIFFE ID",
  flags: { spiffeID: stringFlag("The SPIFFE ID of the agent to show"), output: outputFlag() },
  run: async ({ flags, io, server }) => {
    const id = requiredId(flags.spiffeID);
    const { agent } = await server();
    const found = await agent("getAgent", { id, outputMask: undefined });
    printMessages(io, flags.output, [found], () => {
      io.out(`Found an attested agent given its SPIFFE ID\n\n${agentBlock(found)}`);
      for (const { type, value } of found.selectors) {
        io.out(`Selectors         : ${printable(`${type}:${value}`)}\n`);
      }
    });
  },
});

export const agentEvict: Command = removal({
  synopsis: "Evicts an agent by its SPIFFE ID; it may join again",
  idHelp: "The SPIFFE ID of the agent to evict",
  done: "Agent evicted successfully\n",
  remove: ({ agent }, id) => agent("deleteAgent", { id }),
});

export const agentBan: Command = removal({
  synopsis: "Bans an agent by its SPIFFE ID; it may not join again until evicted",
  idHelp: "The SPIFFE ID of the agent to ban",
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
      const id = requiredId(flags.spiffeID);
      const answer = await spec.remove(await server(), id);
      printMessages(io, flags.output, [answer], () => io.out(spec.done));
    },
  });
}

function requiredId(text: string): SPIFFEID {
  if (text === "") throw new Error("a SPIFFE ID is required");
  return idMessage(text);
}
