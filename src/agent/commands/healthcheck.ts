import { type Command, defineLeaf } from "#cli/command.ts";
import { switchFlag } from "#cli/flags.ts";
import { goQuote } from "#cli/go-text.ts";
import type { Health } from "#cli/health.ts";
import { failureText } from "#cli/rpc-error.ts";
import { errorText } from "#spiffe/status-error.ts";
import { agentSocket, agentSocketOwner, SOCKET_FLAGS } from "./agent-command.ts";

const TIMEOUT_MS = 5_000;

export const healthcheck: Command = defineLeaf({
  synopsis: "Asks a running agent whether it is healthy",
  flags: {
    ...SOCKET_FLAGS,
    shallow: switchFlag("Accepted for the sake of scripts; the check is the same"),
    verbose: switchFlag("Say more about what is done and what went wrong"),
  },
  run: async ({ flags, io }) => {
    let whatElse = "";
    if (flags.verbose) io.out("Checking agent health...\n");
    const path = agentSocket(flags, io);
    try {
      const { isServing, status, why } = await checkHealth(
        path,
        agentSocketOwner(flags, io),
        (problem) => {
          if (flags.verbose) io.err(`Failed to check health: ${problem}\n`);
          else whatElse = `: ${problem}`;
        },
      );
      if (!isServing) throw new Error(`agent returned status ${goQuote(status)}${why}`);
    } catch (error) {
      io.err(`Agent is unhealthy: ${errorText(error)}${whatElse}\n`);
      return 1;
    }
    io.out("Agent is healthy.\n");
    return 0;
  },
});

async function checkHealth(
  path: string,
  owner: string | undefined,
  tell: (problem: string) => void,
): Promise<Health> {
  const { connectAgent } = await import("#agent/workload-client/connection.ts");
  const connection = connectAgent(path, TIMEOUT_MS, owner);
  try {
    return await connection.health();
  } catch (error) {
    const { packagedUnitStatus } = await import("#agent/unit-status.ts");
    const status = await packagedUnitStatus(path);
    tell(`${failureText(error)}${status === undefined ? "" : ` (${status})`}`);
    throw new Error("unable to determine health", { cause: error });
  } finally {
    connection.close();
  }
}
