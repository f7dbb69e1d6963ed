import type { Command } from "#cli/command.ts";
import { counted } from "#cli/go-text.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { agentFilter, FILTER_FLAGS } from "./filter.ts";

export const agentCount: Command = serverCommand({
  synopsis: "Counts the agents that have joined",
  flags: { ...FILTER_FLAGS, output: outputFlag() },
  run: async ({ flags, io, server }) => {
    const filter = agentFilter(flags);
    const { agent } = await server();
    const answer = await agent("countAgents", { filter });
    printMessages(io, flags.output, [answer], () => {
      io.out(`${counted(answer.count, "attested agent", "attested agents")}\n`);
    });
  },
});
