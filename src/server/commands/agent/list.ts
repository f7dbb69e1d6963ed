import type { Command } from "#cli/command.ts";
import { counted } from "#cli/go-text.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import type { Agent } from "#grpc/gen/spire/api/types/agent.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { agentBlock } from "./agent-block.ts";
import { agentFilter, FILTER_FLAGS } from "./filter.ts";

/** How many agents one answer may hold; together they stay below the message limit. */
const PAGE_SIZE = 1000;

export const agentList: Command = serverCommand({
  synopsis: "Lists the agents that have joined",
  flags: { ...FILTER_FLAGS, output: outputFlag() },
  run: async ({ flags, io, server }) => {
    const filter = agentFilter(flags);
    const { agent } = await server();
    const agents: Agent[] = [];
    let pageToken = "";
    do {
      const request = { filter, outputMask: undefined, pageSize: PAGE_SIZE, pageToken };
      const page = await agent("listAgents", request);
      agents.push(...page.agents);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    printMessages(io, flags.output, [{ agents, nextPageToken: "" }], () => {
      if (agents.length === 0) {
        io.out("No attested agents found\n");
        return;
      }
      const count = counted(agents.length, "attested agent", "attested agents");
      io.out(`Found ${count}:\n\n${agents.map(agentBlock).join("")}`);
    });
  },
});
