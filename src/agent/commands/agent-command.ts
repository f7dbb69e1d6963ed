/**
 * What every command that uses the Workload API has in common: the socket flags, the time limit, and errors told without any word in
 * front. The connection and the generated client are loaded only when a command first calls the agent.
 */
import { resolve } from "node:path";
import type { AgentConnection } from "#agent/workload-client/connection.ts";
import { type Command, defineLeaf, type Invocation } from "#cli/command.ts";
import {
  durationFlag,
  type Flag,
  type FlagSpecs,
  type FlagValues,
  type ParsedFlags,
  stringFlag,
} from "#cli/flags.ts";
import type { Io } from "#cli/io.ts";
import { failureText } from "#cli/rpc-error.ts";
import { type SocketRules, socketFlag, socketOwner, socketPath } from "#cli/socket-path.ts";
import {
  AGENT_ADMIN_SOCKET,
  AGENT_SOCKET_TEMPLATE,
  AGENT_SOCKET as PACKAGED,
} from "#config/packaged.ts";
import { unnamedAdminSocket } from "./admin-command.ts";

/** How commands find the socket when nobody names it. */
export const AGENT_SOCKET: SocketRules = {
  defaultPath: "/tmp/spire-agent/public/api.sock",
  packaged: PACKAGED,
  templateVariable: "SPIRE_AGENT_PUBLIC_SOCKET_TEMPLATE",
  packagedTemplate: AGENT_SOCKET_TEMPLATE,
  noTemplate:
    " SPIRE_AGENT_PUBLIC_SOCKET_TEMPLATE environment variable must be defined when using the instance flag",
};

const DEFAULT_TIMEOUT_SECONDS = 5;

export interface SocketFlags extends Record<string, Flag<unknown>> {
  readonly socketPath: Flag<string>;
  readonly instance: Flag<string>;
}

export const SOCKET_FLAGS: SocketFlags = {
  socketPath: socketFlag("The socket of the agent's Workload API", AGENT_SOCKET),
  instance: stringFlag(
    "Which agent of several on this machine: put in for %i in SPIRE_AGENT_PUBLIC_SOCKET_TEMPLATE",
  ),
};

const TIMEOUT_FLAG: { readonly timeout: Flag<number> } = {
  timeout: durationFlag("How long to wait for an answer", DEFAULT_TIMEOUT_SECONDS, "value"),
};

/** The absolute path of the agent's socket. @throws Error when -instance cannot be turned into a path */
export function agentSocket(
  flags: { readonly socketPath: string; readonly instance: string },
  io: Io,
): string {
  return resolve(socketPath(AGENT_SOCKET, flags, io.env));
}

/** Who may listen on that socket, beside root and the caller; undefined where it was named. */
export function agentSocketOwner(
  flags: { readonly socketPath: string; readonly instance: string },
  io: Io,
): string | undefined {
  return socketOwner(AGENT_SOCKET, flags, io.env);
}

interface FoundSocket {
  readonly path: string;
  readonly owner: string | undefined;
}

/** @throws Error when -instance is given, which knows public sockets only */
function adminSocket({ read }: ParsedFlags): FoundSocket {
  const { socketPath, instance } = read(SOCKET_FLAGS);
  if (instance !== "")
    throw new Error("-instance names a public socket; give the admin socket with -socketPath");
  const owner = socketPath === "" ? AGENT_ADMIN_SOCKET.user : undefined;
  return { path: resolve(socketPath || unnamedAdminSocket()), owner };
}

function publicSocket({ read }: ParsedFlags, io: Io): FoundSocket {
  const flags = read(SOCKET_FLAGS);
  return { path: agentSocket(flags, io), owner: agentSocketOwner(flags, io) };
}

export interface AgentInvocation<S extends FlagSpecs> extends Invocation<S> {
  /** The connection to the agent, opened at the first call. */
  agent(): Promise<AgentConnection>;
}

export function agentCommand<S extends FlagSpecs>(spec: {
  readonly synopsis: string;
  readonly flags: S;
  /** Whether the command, with those flags, is for the admin socket. */
  readonly usesAdminSocket?: (flags: FlagValues<S>) => boolean;
  /** Does the work; what it throws is printed as it is and ends the command with 1. */
  run(invocation: AgentInvocation<S>): Promise<void>;
}): Command {
  return defineLeaf({
    synopsis: spec.synopsis,
    flags: { ...spec.flags, ...SOCKET_FLAGS, ...TIMEOUT_FLAG },
    run: async (invocation) => {
      const { io } = invocation;
      const { timeout } = invocation.read(TIMEOUT_FLAG);
      let connection: AgentConnection | undefined;
      try {
        const isAdmin = spec.usesAdminSocket?.(invocation.read(spec.flags)) ?? false;
        const { path, owner } = isAdmin ? adminSocket(invocation) : publicSocket(invocation, io);
        const timeoutMs = timeout > 0 ? timeout * 1000 : undefined;
        const agent = async (): Promise<AgentConnection> => {
          const { connectAgent } = await import("#agent/workload-client/connection.ts");
          connection ??= connectAgent(path, timeoutMs, owner);
          return connection;
        };
        await spec.run({ ...invocation, flags: invocation.read(spec.flags), agent });
        return 0;
      } catch (error) {
        io.err(`${failureText(error)}\n`);
        return 1;
      } finally {
        connection?.close();
      }
    },
  });
}
