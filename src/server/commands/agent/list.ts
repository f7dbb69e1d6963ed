import type { Command } from "#cli/command.ts";
import { durationFlag, stringFlag } from "#cli/flags.ts";
import { counted } from "#cli/go-text.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { systemClock } from "#clock/clock.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { agentBlock } from "./agent-block.ts";
import { agentTable, SORT_WORDS, sorted } from "./agent-table.ts";
import { agentFilter, FILTER_FLAGS } from "./filter.ts";
import { type KnownAgent, withNodes } from "./known-agent.ts";

/** How many agents one answer may hold; together they stay below the message limit. */
const PAGE_SIZE = 1000;

export const agentList: Command = serverCommand({
  synopsis: "Lists the agents that have joined",
  flags: {
    ...FILTER_FLAGS,
    expiring: durationFlag(
      "Only agents whose SVID ends within this time, such as 1h, or has ended",
    ),
    sort: stringFlag(`Sort by ${SORT_WORDS.join(", ")}; by when they joined when not given`),
    output: outputFlag(),
  },
  run: async ({ flags, given, io, server }) => {
    const filter = agentFilter(flags);
    const connection = await server();
    const { agent } = connection;
    const found: KnownAgent[] = [];
    let pageToken = "";
    do {
      const request = { filter, outputMask: undefined, pageSize: PAGE_SIZE, pageToken };
      const page = await agent("listAgents", request);
      found.push(...(await withNodes(connection, page.agents)));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    const now = systemClock.nowSeconds();
    const isWanted = ({ banned, x509svidExpiresAt }: KnownAgent): boolean =>
      !given.has("expiring") || (!banned && x509svidExpiresAt <= now + flags.expiring);
    const wanted = found.filter(isWanted);
    const agents = given.has("sort") ? sorted(wanted, flags.sort) : wanted;
    printMessages(io, flags.output, [{ agents, nextPageToken: "" }], () => {
      if (agents.length === 0) {
        io.out("No attested agents found\n");
        return;
      }
      if (io.isTerminal) {
        io.out(agentTable(agents, now));
        return;
      }
      const count = counted(agents.length, "attested agent", "attested agents");
      io.out(`Found ${count}:\n\n${agents.map(agentBlock).join("")}`);
    });
  },
});
