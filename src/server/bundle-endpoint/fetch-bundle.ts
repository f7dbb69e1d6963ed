/** Fetches a bundle from its endpoint: one GET, within limits of time and size. */
import type { Clock } from "#clock/clock.ts";
import { type Carrier, fetchDocument } from "#http/fetch-document.ts";
import type { Environment } from "#http/proxy.ts";
import type { TlsPolicy } from "#http/tls-policy.ts";
import { readBundleDocument } from "#jwt/bundle-document.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import { parseBundleEndpointUrl } from "#spiffe/federation-relationship.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { connectEndpoint, type EndpointProof } from "./connect.ts";

/** For everything: names, connections, redirects and the document. */
const DEADLINE_MS = 30_000;
/** Hundreds of authorities; a server that makes a CA every half hour shows about fifty. */
const MAX_DOCUMENT_BYTES = 1024 * 1024;

export interface BundleRequest {
  readonly trustDomain: TrustDomain;
  readonly url: string;
  readonly proof: EndpointProof;
  readonly policy: TlsPolicy;
  readonly clock: Clock;
  /** Tells of a proxy; the process's own when absent. */
  readonly env?: Environment;
  readonly signal: AbortSignal;
}

/**
 * Redirects are followed as SPIFFE Federation §5.2.1.4 and §5.2.2.4 recommend: to URLs of bundle endpoints only, and each of them has to
 * prove the same. The next fetch starts at the URL of the configuration again.
 *
 * @throws Error: the reason of the signal, or why there is no bundle
 */
export async function fetchBundle(fetched: BundleRequest): Promise<Bundle> {
  const { clock, trustDomain, proof, policy, env = process.env, signal } = fetched;
  const connect = async (url: URL, ending: AbortSignal): Promise<Carrier> => {
    const atSeconds = clock.nowSeconds();
    const socket = await connectEndpoint({ url, proof, policy, atSeconds, env, signal: ending });
    return {
      options: { createConnection: () => socket },
      close: () => void socket.destroy(),
    };
  };
  const document = await fetchDocument({
    url: new URL(fetched.url),
    accept: "application/json",
    connect,
    follow: ({ href }) => new URL(parseBundleEndpointUrl(href)),
    maxBytes: MAX_DOCUMENT_BYTES,
    deadlineMs: DEADLINE_MS,
    clock,
    signal,
  });
  return readBundleDocument(document, trustDomain);
}
