/** The node's own X509-SVID from the Workload API of another agent, for nodes that prove themselves by one they already have. */
import { createPrivateKey } from "node:crypto";
import { Metadata } from "@grpc/grpc-js";
import type { NodeIdentity } from "#attestors/x509pop/node-identity.ts";
import { deadline, readStream, unixChannel } from "#grpc/client.ts";
import { SpiffeWorkloadAPIClient } from "#grpc/gen/spiffe/workload/workload.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import { splitCertificates } from "#x509/der.ts";

const TIMEOUT_MS = 30_000;

/**
 * Fetches the default SVID, the first of the answer.
 *
 * @throws StatusError UNAVAILABLE when there is none; the caller may try again
 */
export async function fetchNodeIdentity(socketPath: string): Promise<NodeIdentity> {
  const { address, credentials, options } = unixChannel(socketPath);
  const client = new SpiffeWorkloadAPIClient(address, credentials, options);
  try {
    const metadata = new Metadata();
    // SPIFFE Workload API §4.3
    metadata.set("workload.spiffe.io", "true");
    const call = client.fetchX509Svid({}, metadata, deadline({ timeoutMs: TIMEOUT_MS }));
    for await (const { svids } of readStream(call)) {
      const [svid] = svids;
      if (svid === undefined) throw new Error("the answer holds no SVID");
      return {
        privateKey: createPrivateKey({
          key: Buffer.from(svid.x509SvidKey),
          format: "der",
          type: "pkcs8",
        }),
        certificates: splitCertificates(svid.x509Svid),
      };
    }
    throw new Error("the stream ended without an answer");
  } catch (error) {
    throw new StatusError(
      StatusCode.UNAVAILABLE,
      `unable to fetch SVID from workload API at ${socketPath}: ${errorText(error)}`,
    );
  } finally {
    client.close();
  }
}
