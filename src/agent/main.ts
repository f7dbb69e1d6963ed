/** The entry point of the executable spire-agent. */
import { runMain } from "#cli/program.ts";
import { agentCommands } from "./commands/tree.ts";

await runMain("spire-agent", agentCommands);
