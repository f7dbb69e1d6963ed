import { type Command, defineLeaf } from "#cli/command.ts";
import { intFlag, stringFlag, switchFlag } from "#cli/flags.ts";
import { pickGiven } from "#cli/given.ts";
import { outputFlag } from "#cli/printer.ts";
import { unnamedSocketPath } from "#cli/socket-path.ts";
import { SERVER_SOCKET } from "./server-command.ts";

const CONFIGURATION_FLAGS = {
  bindAddress: stringFlag("The address for agents, if the server was started with this flag"),
  config: stringFlag("The server's configuration file; conf/server/server.conf when not given"),
  dataDir: stringFlag("The server's data directory, if it was started with this flag"),
  expandEnv: switchFlag("Replace $VARIABLES in the configuration file by the environment's values"),
  serverPort: intFlag("The port for agents, if the server was started with this flag"),
  socketPath: stringFlag("The socket of the server's administration API, if not as configured"),
  trustDomain: stringFlag("The server's trust domain, if it was started with this flag"),
} as const;

export const doctor: Command = defineLeaf({
  synopsis: "Looks for everything that is wrong with a server, and says what to do about it",
  flags: { ...CONFIGURATION_FLAGS, output: outputFlag() },
  run: async ({ flags, given, read, io }) => {
    const [{ examineServer }, { printFindings }, { systemClock }] = await Promise.all([
      import("#server/doctor/doctor.ts"),
      import("#cli/doctor/finding.ts"),
      import("#clock/clock.ts"),
    ]);
    const configured = pickGiven(read(CONFIGURATION_FLAGS), given);
    const socket = configured.socketPath ?? unnamedSocketPath(SERVER_SOCKET, io.env);
    const findings = await examineServer(configured, socket, systemClock.nowSeconds());
    return printFindings(io, flags.output, findings);
  },
});
