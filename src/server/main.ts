/** The entry point of the executable spire-server. */
import { runMain } from "#cli/program.ts";
import { serverCommands } from "./commands/tree.ts";

await runMain("spire-server", serverCommands(process.env["SPIRE_SERVER_FFLAGS"]));
