import type { Command } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { levelMessage, printLogger } from "#cli/logger.ts";
import { outputFlag } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import { adminCommand } from "./admin-command.ts";

export const loggerGet: Command = adminCommand({
  synopsis: "Prints the agent's log level, and the one it started with",
  flags: { output: outputFlag() },
  run: async ({ flags, io, admin }) => {
    const { logger } = await admin();
    const answer = await explained("error fetching logger", () => logger("getLogger", {}));
    printLogger(io, flags.output, answer);
  },
});

export const loggerSet: Command = adminCommand({
  synopsis: "Changes the agent's log level until it is restarted",
  flags: {
    level: stringFlag("The new level: panic, fatal, error, warn, info, debug or trace"),
    output: outputFlag(),
  },
  run: async ({ flags, io, admin }) => {
    const newLevel = levelMessage(flags.level);
    const { logger } = await admin();
    const answer = await explained("failed to set log level", () =>
      logger("setLogLevel", { newLevel }),
    );
    printLogger(io, flags.output, answer);
  },
});

export const loggerReset: Command = adminCommand({
  synopsis: "Puts the agent's log level back to the one it started with",
  flags: { output: outputFlag() },
  run: async ({ flags, io, admin }) => {
    const { logger } = await admin();
    const answer = await explained("failed to reset logger", () => logger("resetLogLevel", {}));
    printLogger(io, flags.output, answer);
  },
});
