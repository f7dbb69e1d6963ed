import type { Command } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { levelMessage, printLogger } from "#cli/logger.ts";
import { outputFlag } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import { serverCommand } from "./server-command.ts";

export const loggerGet: Command = serverCommand({
  synopsis: "Prints the server's log level, and the one it started with",
  flags: { output: outputFlag() },
  run: async ({ flags, io, server }) => {
    const { logger } = await server();
    const answer = await explained("error fetching logger", () => logger("getLogger", {}));
    printLogger(io, flags.output, answer);
  },
});

export const loggerSet: Command = serverCommand({
  synopsis: "Changes the server's log level until it is restarted",
  flags: {
    level: stringFlag("The new level: panic, fatal, error, warn, info, debug or trace"),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    const newLevel = levelMessage(flags.level);
    const { logger } = await server();
    const answer = await explained("failed to set log level", () =>
      logger("setLogLevel", { newLevel }),
    );
    printLogger(io, flags.output, answer);
  },
});

export const loggerReset: Command = serverCommand({
  synopsis: "Puts the server's log level back to the one it started with",
  flags: { output: outputFlag() },
  run: async ({ flags, io, server }) => {
    const { logger } = await server();
    const answer = await explained("failed to reset logger", () => logger("resetLogLevel", {}));
    printLogger(io, flags.output, answer);
  },
});
