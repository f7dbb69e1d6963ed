import type { Command } from "#cli/command.ts";
import { switchFlag } from "#cli/flags.ts";
import { goQuote } from "#cli/go-text.ts";
import type { Health } from "#cli/health.ts";
import { failureText } from "#cli/rpc-error.ts";
import { serverCommand } from "./server-command.ts";

export const healthcheck: Command = serverCommand({
  synopsis: "Asks a running server whether it is healthy",
  flags: {
    shallow: switchFlag("Accepted for the sake of scripts; the check is the same"),
    verbose: switchFlag("Say more about what is done and what went wrong"),
  },
  run: async ({ flags, io, server }) => {
    if (flags.verbose) io.out("Checking server health...\n");
    const { health } = await server();
    let answer: Health;
    try {
      answer = await health();
    } catch (error) {
      const reason = failureText(error);
      if (flags.verbose) io.err(`Failed to check health: ${reason}\n`);
      const more = flags.verbose ? "" : `: ${reason}`;
      throw new Error(`server is unhealthy: unable to determine health${more}`, { cause: error });
    }
    const { isServing, status, why } = answer;
    if (!isServing) {
      throw new Error(`server is unhealthy: server returned status ${goQuote(status)}${why}`);
    }
    io.out("Server is healthy.\n");
  },
});
