/** Where agents reach the server, which the server itself can only guess: what goes into join words. */
import type { Block, Problems } from "#config/block.ts";
import type { JoinAddress } from "#proto/spire_edge/jointoken/v1/jointoken.ts";
import { parseHostPort } from "#spiffe/host-port.ts";
import { errorText } from "#spiffe/status-error.ts";
import type { ServerConfig } from "./config.ts";

/** Addresses to listen on that stand for all of a machine's. */
const EVERY_ADDRESS = ["0.0.0.0", "::", "::0", "0:0:0:0:0:0:0:0"];

/** Reads `join_address`, `HOST` or `HOST:PORT`. @param bindPort the port where none is given */
export function readJoinAddress(
  server: Block,
  bindPort: number,
  problems: Problems,
): Pick<ServerConfig, "joinAddress"> {
  const key = "join_address";
  const text = server.string(key) ?? "";
  if (text === "") return {};
  try {
    return { joinAddress: { port: bindPort, ...parseHostPort(text) } };
  } catch (error) {
    problems.add(`could not parse ${key}: ${errorText(error)}`, server.lineOf(key));
    return {};
  }
}

/** What the operator said; or where the server listens; or, where that is everywhere, the name of the machine. */
export function joinAddress(
  config: Pick<ServerConfig, "joinAddress" | "bindAddress" | "bindPort">,
  hostname: string,
): JoinAddress {
  const { joinAddress: given, bindAddress, bindPort } = config;
  if (given !== undefined) return { ...given, isGuess: false };
  const isGuess = EVERY_ADDRESS.includes(bindAddress);
  return { host: isGuess ? hostname : bindAddress, port: bindPort, isGuess };
}
