import { type Command, defineLeaf } from "#cli/command.ts";
import { intFlag, stringFlag, switchFlag } from "#cli/flags.ts";
import { pickGiven } from "#cli/given.ts";
import { outputFlag } from "#cli/printer.ts";
import { unnamedSocketPath } from "#cli/socket-path.ts";
import { AGENT_SOCKET } from "./agent-command.ts";

const CONFIGURATION_FLAGS = {
  config: stringFlag("The agent's configuration file; conf/agent/agent.conf when not given"),
  dataDir: stringFlag("The agent's data directory, if it was started with this flag"),
  expandEnv: switchFlag("Replace $VARIABLES in the configuration file by the environment's values"),
  joinFile: stringFlag("The file with the join word, if the agent was started with this flag"),
  serverAddress: stringFlag("The server's address, if the agent was started with this flag"),
  serverPort: intFlag("The server's port, if the agent was started with this flag"),
  socketPath: stringFlag("The socket of the Workload API, if not as configured"),
  trustDomain: stringFlag("The agent's trust domain, if it was started with this flag"),
} as const;

export const doctor: Command = defineLeaf({
  synopsis: "Looks for everything that is wrong with an agent, and says what to do about it",
  flags: { ...CONFIGURATION_FLAGS, output: outputFlag() },
  run: async ({ flags, given, read, io }) => {
    const [{ examineAgent }, { printFindings }, { systemClock }] = await Promise.all([
      import("#agent/doctor/doctor.ts"),
      import("#cli/doctor/finding.ts"),
      import("#clock/clock.ts"),
    ]);
    const configured = pickGiven(read(CONFIGURATION_FLAGS), given);
    const socket = configured.socketPath ?? unnamedSocketPath(AGENT_SOCKET, io.env);
    return printFindings(io, flags.output, await examineAgent(configured, socket, systemClock));
  },
});
