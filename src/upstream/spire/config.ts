import type { Block, Problems } from "#config/block.ts";
import { type TlsPolicy, tlsPolicy } from "#http/tls-policy.ts";

const MAX_PORT = 65_535;

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
  const address = {
    serverAddress: required("server_address"),
    serverPort: Number(required("server_port")),
    workloadApiSocket: isWindows ? "" : required("workload_api_socket"),
  };
  const { serverPort } = address;
  if (!Number.isInteger(serverPort) || serverPort < 0 || serverPort > MAX_PORT)
    complain("server_port is not a port number", "server_port");
  if (isWindows)
    complain(
      "workload_api_named_pipe_name is not supported on this platform; please use workload_api_socket instead",
      "experimental",
    );
  const requirePqKem = experimental?.boolean("require_pq_kem") ?? false;
  experimental?.finish();
  return { name: "spire", ...address, tlsPolicy: tlsPolicy(requirePqKem) };
}
