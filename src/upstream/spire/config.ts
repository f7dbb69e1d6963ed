import type { Block, Problems } from "#config/block.ts";
import { type TlsPolicy, tlsPolicy } from "#http/tls-policy.ts";
import { type HostPort, isPort, parseServerAddress } from "#spiffe/host-port.ts";
import { errorText } from "#spiffe/status-error.ts";

/** Which server is above this one, and whose workload this one is. */
export interface SpireUpstreamConfig {
  readonly name: "spire";
  readonly serverAddress: string;
  readonly serverPort: number;
  /** The socket of the agent that gives this server its SVID. */
  readonly workloadApiSocket: string;
  /** What the connection to the server must agree on. */
  readonly tlsPolicy: TlsPolicy;
}

/** Reads `plugin_data`. What is wrong goes to the problems. */
export function readSpireUpstreamConfig(data: Block, problems: Problems): SpireUpstreamConfig {
  const complain = (text: string, key: string): void =>
    problems.add(`UpstreamAuthority "spire": ${text}`, data.lineOf(key));
  const required = (key: string): string => {
    const value = data.string(key) ?? "";
    if (value === "") complain(`${key} is required`, key);
    return value;
  };
  const experimental = data.block("experimental");
  const isWindows = experimental?.asksFor("workload_api_named_pipe_name") ?? false;
  const workloadApiSocket = isWindows ? "" : required("workload_api_socket");
  const { host: serverAddress, port: serverPort } = readServer(data, required, complain);
  if (isWindows)
    complain(
      "workload_api_named_pipe_name is not supported on this platform; please use workload_api_socket instead",
      "experimental",
    );
  const requirePqKem = experimental?.boolean("require_pq_kem") ?? false;
  experimental?.finish();
  return {
    name: "spire",
    serverAddress,
    serverPort,
    workloadApiSocket,
    tlsPolicy: tlsPolicy(requirePqKem),
  };
}

/** The port may stand behind the address, or by itself. */
function readServer(
  data: Block,
  required: (key: string) => string,
  complain: (text: string, key: string) => void,
): HostPort {
  const none = { host: "", port: 0 };
  const address = required("server_address");
  const portText = data.string("server_port") ?? "";
  const port = portText === "" ? undefined : Number(portText);
  if (port !== undefined && !isPort(port)) {
    complain("server_port is not a port number", "server_port");
    return none;
  }
  try {
    const server = address === "" ? none : parseServerAddress(address, port);
    return { host: server.host, port: server.port || Number(required("server_port")) };
  } catch (error) {
    complain(`server_address: ${errorText(error)}`, "server_address");
    return none;
  }
}
