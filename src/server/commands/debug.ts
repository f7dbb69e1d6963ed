import { chainText } from "#cli/certificate-text.ts";
import type { Command } from "#cli/command.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { formatDuration } from "#config/duration.ts";
import { serverCommand } from "./server-command.ts";

export const debugGetInfo: Command = serverCommand({
  synopsis: "Prints facts about the running server",
  flags: { output: outputFlag() },
  run: async ({ flags, io, server }) => {
    const { debug } = await server();
    const info = await debug("getInfo", {});
    printMessages(io, flags.output, [info], () => {
      io.out(
        "Server Debug Info:\n" +
          `  Uptime:                  ${formatDuration(info.uptime)}\n` +
          `  Registered Agents:       ${info.agentsCount}\n` +
          `  Registration Entries:    ${info.entriesCount}\n` +
          `  Federated Bundles:       ${info.federatedBundlesCount}\n` +
          chainText(info.svidChain),
      );
    });
  },
});
