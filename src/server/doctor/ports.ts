import type { Finding } from "#cli/doctor/finding.ts";
import type { ServerConfig } from "#server/config/config.ts";
import { checkTlsPort } from "./listener.ts";

/** The ports of the configuration, where agents and other trust domains connect. @param now Unix seconds */
export async function checkPorts(
  { bindAddress: address, bindPort: port, federation }: ServerConfig,
  now: number,
): Promise<readonly Finding[]> {
  const rotator = "look for errors of svid_rotator in the server's log";
  const agents = {
    check: "agents_port",
    address,
    port,
    unanswered:
      "start the server; see bind_address and bind_port, and what listens there: ss -tlnp",
    expired: rotator,
  };
  const endpoint = federation?.bundleEndpoint;
  if (endpoint === undefined) return checkTlsPort(agents, now);
  const bundles = {
    check: "bundle_endpoint",
    address: endpoint.address,
    port: endpoint.port,
    unanswered:
      "start the server; see bundle_endpoint in the configuration, and what listens there: ss -tlnp",
    expired:
      endpoint.servingCertificate === undefined ? rotator : "renew the files of serving_cert_file",
  };
  const found = await Promise.all([checkTlsPort(agents, now), checkTlsPort(bundles, now)]);
  return found.flat();
}
