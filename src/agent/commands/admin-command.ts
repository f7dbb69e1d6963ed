/**
 * What every command that uses the agent's admin socket has in common. The connection and the generated clients are loaded only when a
 * command first calls the agent.
 */
import type { Service, Services } from "#cli/api-service.ts";
import { type Command, defineLeaf, type Invocation } from "#cli/command.ts";
import type { Flag, FlagSpecs } from "#cli/flags.ts";
import { failureText } from "#cli/rpc-error.ts";
import { socketFlag } from "#cli/socket-path.ts";
import { AGENT_ADMIN_SOCKET, unnamedSocket } from "#config/packaged.ts";
import type { DebugClient } from "#proto/spire/api/agent/debug/v1/debug.ts";
import type { LoggerClient } from "#proto/spire/api/agent/logger/v1/logger.ts";

/** How commands find the admin socket when nobody names it. */
const ADMIN_SOCKET = {
  defaultPath: "/tmp/spire-agent/private/admin.sock",
  packaged: AGENT_ADMIN_SOCKET,
} as const;

const SOCKET_FLAG: { readonly socketPath: Flag<string> } = {
  socketPath: socketFlag(
    "The agent's admin socket, as its configuration's admin_socket_path",
    ADMIN_SOCKET,
  ),
};

/** The admin socket when nobody names it. */
export function unnamedAdminSocket(): string {
  return unnamedSocket(ADMIN_SOCKET.defaultPath, ADMIN_SOCKET.packaged);
}

const ANSWER_TIMEOUT_MS = 30_000;

export interface AdminConnection {
  readonly debug: Service<DebugClient>;
  readonly logger: Service<LoggerClient>;
}

export interface AdminInvocation<S extends FlagSpecs> extends Invocation<S> {
  /** The connection to the agent, opened at the first call. */
  admin(): Promise<AdminConnection>;
}

export function adminCommand<S extends FlagSpecs>(spec: {
  readonly synopsis: string;
  readonly flags: S;
  /** Does the work; what it throws is printed behind `Error: ` and ends the command with 1. */
  run(invocation: AdminInvocation<S>): Promise<void>;
}): Command {
  return defineLeaf({
    synopsis: spec.synopsis,
    flags: { ...spec.flags, ...SOCKET_FLAG },
    run: async (invocation) => {
      const { io } = invocation;
      const { socketPath } = invocation.read(SOCKET_FLAG);
      let services: Services | undefined;
      try {
        const admin = async (): Promise<AdminConnection> => {
          services ??= await open(socketPath);
          return clientsOf(services);
        };
        await spec.run({ ...invocation, flags: invocation.read(spec.flags), admin });
        return 0;
      } catch (error) {
        io.err(`Error: ${failureText(error)}\n`);
        return 1;
      } finally {
        services?.close();
      }
    },
  });
}

async function open(named: string): Promise<Services> {
  const path = named || unnamedAdminSocket();
  const owner = named === "" ? AGENT_ADMIN_SOCKET.user : undefined;
  const [{ CONNECT_TIMEOUT_MS, openServices }, { AGENT }] = await Promise.all([
    import("#cli/api-service.ts"),
    import("#agent/workload-client/connection.ts"),
  ]);
  const daemon = { ...AGENT, program: "spire-agent, with that admin_socket_path," };
  return openServices({
    path,
    owner,
    daemon,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    timeoutMs: ANSWER_TIMEOUT_MS,
  });
}

async function clientsOf(services: Services): Promise<AdminConnection> {
  const [debug, logger] = await Promise.all([
    import("#proto/spire/api/agent/debug/v1/debug.ts"),
    import("#proto/spire/api/agent/logger/v1/logger.ts"),
  ]);
  return {
    debug: services.of(debug.DebugClient).call,
    logger: services.of(logger.LoggerClient).call,
  };
}
