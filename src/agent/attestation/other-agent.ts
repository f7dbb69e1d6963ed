/** What this agent takes from the Workload API of another one: where agents are nested, or a node has an SVID before it joins. */
import { createPrivateKey } from "node:crypto";
import { type CallOptions, Metadata } from "@grpc/grpc-js";
import type { NodeIdentity } from "#attestors/attestor.ts";
import { deadline, readStream, unixChannel } from "#grpc/client.ts";
import { SpiffeWorkloadAPIClient } from "#proto/spiffe/workload/workload.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { splitCertificates } from "#x509/der.ts";

const TIMEOUT_MS = 30_000;

/**
 * Fetches the node's own SVID: the default one, which is the first of the answer.
 *
 * @throws StatusError UNAVAILABLE when there is none; the caller may try again
 */
export async function fetchNodeIdentity(socketPath: string): Promise<NodeIdentity> {
  const { svids } = await firstAnswer("SVID", socketPath, (client, metadata, options) =>
    client.fetchX509Svid({}, metadata, options),
  );
  const [svid] = svids;
  if (svid === undefined) throw unavailable("SVID", socketPath, "the answer holds no SVID");
  return {
    privateKey: createPrivateKey({
      key: Buffer.from(svid.x509SvidKey),
      format: "der",
      type: "pkcs8",
    }),
    certificates: splitCertificates(svid.x509Svid),
  };
}

/**
 * Fetches the X.509 authorities of a trust domain, DER, never empty.
 *
 * @throws StatusError UNAVAILABLE when they are not there; the caller may try again
 */
export async function fetchBundle(
  socketPath: string,
  trustDomain: TrustDomain,
): Promise<readonly Uint8Array[]> {
  const { bundles } = await firstAnswer("trust bundle", socketPath, (client, metadata, options) =>
    client.fetchX509Bundles({}, metadata, options),
  );
  const found = splitCertificates(bundles[trustDomain.id] ?? new Uint8Array());
  if (found.length > 0) return found;
  const why = `the answer has none of trust domain ${trustDomain.name}`;
  throw unavailable("trust bundle", socketPath, why);
}

async function firstAnswer<R>(
  what: string,
  socketPath: string,
  open: (
    client: SpiffeWorkloadAPIClient,
    metadata: Metadata,
    options: Partial<CallOptions>,
  ) => Parameters<typeof readStream<R>>[0],
): Promise<R> {
  const { address, credentials, options } = unixChannel(socketPath);
  const client = new SpiffeWorkloadAPIClient(address, credentials, options);
  try {
    const metadata = new Metadata();
    // SPIFFE Workload API §4.3
    metadata.set("workload.spiffe.io", "true");
    const call = open(client, metadata, deadline({ timeoutMs: TIMEOUT_MS }));
    for await (const answer of readStream(call)) return answer;
    throw new Error("the stream ended without an answer");
  } catch (error) {
    throw unavailable(what, socketPath, errorText(error));
  } finally {
    client.close();
  }
}

function unavailable(what: string, socketPath: string, why: string): StatusError {
  return new StatusError(
    StatusCode.UNAVAILABLE,
    `unable to fetch ${what} from workload API at ${socketPath}: ${why}`,
  );
}
