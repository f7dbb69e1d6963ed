/**
 * What every command that talks to a running server has in common: the socket flags, the connection, and the way errors are
 * told. The connection and the generated clients are loaded only when a command first calls the server.
 */
import { type Command, defineLeaf, type Invocation } from "#cli/command.ts";
import { type Flag, type FlagSpecs, stringFlag } from "#cli/flags.ts";
import { failureText } from "#cli/rpc-error.ts";
import { type SocketRules, socketFlag, socketOwner, socketPath } from "#cli/socket-path.ts";
import { SERVER_SOCKET as PACKAGED } from "#config/packaged.ts";
import type { ServerConnection } from "#server/client/connection.ts";

/** How commands find the socket when nobody names it. */
export const SERVER_SOCKET: SocketRules = {
  defaultPath: "/tmp/spire-server/private/api.sock",
  packaged: PACKAGED,
  templateVariable: "SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE",
  noTemplate: "you must define SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE to use the instance flag",
};

interface SocketFlags extends Record<string, Flag<unknown>> {
  readonly socketPath: Flag<string>;
  readonly instance: Flag<string>;
}

const SOCKET_FLAGS: SocketFlags = {
  socketPath: socketFlag("The socket of the server's administration API", SERVER_SOCKET),
  instance: stringFlag(
    "Which server of several on this machine: put in for %i in SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE",
  ),
};

export interface ServerInvocation<S extends FlagSpecs> extends Invocation<S> {
  /** The connection to the server, opened at the first call. */
  server(): Promise<ServerConnection>;
  /** Ends the command with another code than 0 when nothing is thrown. */
  exitWith(code: number): void;
}

export interface ServerCommandSpec<S extends FlagSpecs> {
  readonly synopsis: string;
  readonly flags: S;
  /** The words that go behind the flags, for the help. */
  readonly operands?: string;
  /** Does the work; what it throws is printed behind `Error: ` and ends the command with 1. */
  run(invocation: ServerInvocation<S>): Promise<void>;
}

export function serverCommand<S extends FlagSpecs>(spec: ServerCommandSpec<S>): Command {
  return defineLeaf({
    synopsis: spec.synopsis,
    ...(spec.operands === undefined ? {} : { operands: spec.operands }),
    flags: { ...spec.flags, ...SOCKET_FLAGS },
    run: async (invocation) => {
      const { io } = invocation;
      let connection: ServerConnection | undefined;
      let exitCode = 0;
      try {
        const flags = invocation.read(SOCKET_FLAGS);
        const path = socketPath(SERVER_SOCKET, flags, io.env);
        const owner = socketOwner(SERVER_SOCKET, flags, io.env);
        const server = async (): Promise<ServerConnection> => {
          const { connectServer } = await import("#server/client/connection.ts");
          connection ??= connectServer(path, undefined, owner);
          return connection;
        };
        const exitWith = (code: number): void => {
          exitCode = code;
        };
        await spec.run({ ...invocation, flags: invocation.read(spec.flags), server, exitWith });
        return exitCode;
      } catch (error) {
        io.err(`Error: ${failureText(error)}\n`);
        return 1;
      } finally {
        connection?.close();
      }
    },
  });
}
