/** The keys of agent.conf's `NodeAttestor "x509pop"`. */
import type { Block, Problems } from "#config/block.ts";
import { parseEndpointSocket } from "#spiffe/endpoint-socket.ts";
import { errorText } from "#spiffe/status-error.ts";
import type { IdentityFiles } from "./node-identity.ts";

/** Where the node's certificate and key are: in files, or with a SPIFFE Workload API. */
export type X509popAgentConfig =
  | { readonly name: "x509pop"; readonly files: IdentityFiles }
  | { readonly name: "x509pop"; readonly spiffeSocketPath: string };

const NAME = 'NodeAttestor "x509pop"';

export function readX509popAgentConfig(data: Block, problems: Problems): X509popAgentConfig {
  const path = (key: string): string | undefined => data.path(key)?.trim() || undefined;
  const privateKey = path("private_key_path");
  const certificate = path("certificate_path");
  const intermediates = path("intermediates_path");
  const pkcs12 = path("pkcs12_file_path");
  const password = path("pkcs12_password_file");
  const socket = data.string("spiffe_endpoint_socket")?.trim() || undefined;
  if (socket !== undefined) {
    return { name: "x509pop", spiffeSocketPath: readSocketPath(socket, data, problems) };
  }
  if (pkcs12 === undefined) {
    if (privateKey === undefined) problems.add(`${NAME}: private_key_path is required`, data.line);
    if (certificate === undefined) problems.add(`${NAME}: certificate_path is required`, data.line);
  } else if (privateKey !== undefined || certificate !== undefined) {
    problems.add(
      `${NAME}: either pkcs12_file_path or private_key_path and certificate_path can be set, not both`,
      data.lineOf("pkcs12_file_path"),
    );
  }
  return {
    name: "x509pop",
    files: {
      ...(privateKey === undefined ? {} : { privateKeyPath: privateKey }),
      ...(certificate === undefined ? {} : { certificatePath: certificate }),
      ...(intermediates === undefined ? {} : { intermediatesPath: intermediates }),
      ...(pkcs12 === undefined ? {} : { pkcs12FilePath: pkcs12 }),
      ...(password === undefined ? {} : { pkcs12PasswordFile: password }),
    },
  };
}

/** A bare path is taken as well. */
function readSocketPath(socket: string, data: Block, problems: Problems): string {
  try {
    return parseEndpointSocket(socket);
  } catch (error) {
    const line = data.lineOf("spiffe_endpoint_socket");
    problems.add(`${NAME}: spiffe_endpoint_socket ${errorText(error)}`, line);
    return "";
  }
}
