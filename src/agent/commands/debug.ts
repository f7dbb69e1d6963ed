import { chainText } from "#cli/certificate-text.ts";
import type { Command } from "#cli/command.ts";
import { rfc3339 } from "#cli/go-time.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { formatDuration } from "#config/duration.ts";
import { adminCommand } from "./admin-command.ts";

export const debugGetInfo: Command = adminCommand({
  synopsis: "Prints facts about the running agent",
  flags: { output: outputFlag() },
  run: async ({ flags, io, admin }) => {
    const { debug } = await admin();
    const info = await debug("getInfo", {});
    printMessages(io, flags.output, [info], () => {
      const synced = info.lastSyncSuccess === 0 ? "(never)" : rfc3339(info.lastSyncSuccess);
      io.out(
        "Agent Debug Info:\n" +
          `  Uptime:                          ${formatDuration(info.uptime)}\n` +
          `  Last Sync Success:               ${synced}\n` +
          `  Cached X.509 SVIDs:              ${info.cachedX509SvidsCount}\n` +
          `  Cached JWT SVIDs:                ${info.cachedJwtSvidsCount}\n` +
          `  Cached SVID Store X.509 SVIDs:   ${info.cachedSvidstoreX509SvidsCount}\n` +
          chainText(info.svidChain),
      );
    });
  },
});
