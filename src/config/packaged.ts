/**
 * Where the packages put what a daemon reads and serves. Commands look there when nobody names another place and nothing is where the
 * reference has it by default.
 */
import { lstatSync } from "node:fs";

export interface PackagedSocket {
  readonly path: string;
  /** The configuration file of the daemon that serves it: where that is, the packages are installed, whether it runs or not. */
  readonly config: string;
  /** Whom the packages have it run as. */
  readonly user: string;
}

export const SERVER_CONFIG = "/etc/spire/server/server.conf";
export const AGENT_CONFIG = "/etc/spire/agent/agent.conf";

export const SERVER_SOCKET: PackagedSocket = {
  path: "/run/spire/server/api.sock",
  config: SERVER_CONFIG,
  user: "spire-server",
};
export const AGENT_SOCKET: PackagedSocket = {
  path: "/run/spire/agent/public/api.sock",
  config: AGENT_CONFIG,
  user: "spire-agent",
};
/** Of spire-agent@NAME.service, with the name in place of `%i`. */
export const AGENT_SOCKET_TEMPLATE = "/run/spire/agent-%i/public/api.sock";
export const AGENT_ADMIN_SOCKET: PackagedSocket = {
  path: "/run/spire/agent/private/admin.sock",
  config: AGENT_CONFIG,
  user: "spire-agent",
};

/** Whether something has that name. What may not be looked at is there: trying it tells more than passing it over. */
export function isThere(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code !== "ENOENT" && code !== "ENOTDIR";
  }
}

/** The socket to use when nobody names one: the default where it is there, else that of an installed package, else the default. */
export function unnamedSocket(defaultPath: string, packaged: PackagedSocket): string {
  if (isThere(defaultPath)) return defaultPath;
  return isThere(packaged.path) || isThere(packaged.config) ? packaged.path : defaultPath;
}

/**
 * Who may listen on a socket that nobody named, beside root and the caller.
 *
 * @returns undefined where the path is none of those that are looked for by themselves
 */
export function ownerOfUnnamed(
  path: string,
  defaultPath: string,
  packaged: PackagedSocket,
): string | undefined {
  return path === defaultPath || path === packaged.path ? packaged.user : undefined;
}
