import type { Command } from "#cli/command.ts";
import { counted } from "#cli/go-text.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { entryFilter, FILTER_FLAGS } from "./filter.ts";

export const entryCount: Command = serverCommand({
  synopsis: "Counts registration entries",
  flags: { ...FILTER_FLAGS, output: outputFlag() },
  run: async ({ flags, io, server }) => {
    const filter = await entryFilter(flags);
    const { entry } = await server();
    const answer = await entry("countEntries", { filter });
    printMessages(io, flags.output, [answer], () => {
      io.out(`${counted(answer.count, "registration entry", "registration entries")}\n`);
    });
  },
});
