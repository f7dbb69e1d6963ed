/** Fetches a bundle from its endpoint: one GET, within limits of time and size. */
import { type IncomingMessage, request } from "node:http";
import type { TLSSocket } from "node:tls";
import type { Clock } from "#clock/clock.ts";
import type { TlsPolicy } from "#http/tls-policy.ts";
import { readBundleDocument } from "#jwt/bundle-document.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import { parseBundleEndpointUrl } from "#spiffe/federation-relationship.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { connectEndpoint, type EndpointProof } from "./connect.ts";
import type { Environment } from "./proxy.ts";

/** For everything: names, connections, redirects and the document. */
const DEADLINE_MS = 30_000;
/** Hundreds of authorities; a server that makes a CA every half hour shows about fifty. */
const MAX_DOCUMENT_BYTES = 1024 * 1024;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_REDIRECTS = 10;
const MAX_SHOWN_BYTES = 200;

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

/** @throws Error: the reason of the signal, or why there is no bundle */
export async function fetchBundle(fetched: BundleRequest): Promise<Bundle> {
  const { clock, trustDomain } = fetched;
  const deadline = new AbortController();
  const timer = clock.after(DEADLINE_MS, () => {
    deadline.abort(new Error(`the endpoint did not answer within ${DEADLINE_MS / 1000} s`));
  });
  const signal = AbortSignal.any([fetched.signal, deadline.signal]);
  try {
    return await readBundleDocument(await fetchDocument(fetched, signal), trustDomain);
  } catch (error) {
    // A connection that was cut says no more than that.
    throw signal.aborted ? signal.reason : error;
  } finally {
    timer.cancel();
  }
}

/**
 * Redirects are followed as SPIFFE Federation §5.2.1.4 and §5.2.2.4 recommend: to URLs of bundle endpoints only, and each of them has to
 * prove the same. The next fetch starts at the URL of the configuration again.
 */
async function fetchDocument(
  { url: start, proof, policy, clock, env = process.env }: BundleRequest,
  signal: AbortSignal,
): Promise<string> {
  let url = start;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const target = new URL(url);
    const atSeconds = clock.nowSeconds();
    const socket = await connectEndpoint({ url: target, proof, policy, atSeconds, env, signal });
    try {
      const response = await responseTo(target, socket);
      const location = redirectOf(response);
      if (location === undefined) return await documentIn(response);
      url = parseBundleEndpointUrl(new URL(location, target).href);
    } finally {
      socket.destroy();
    }
  }
  throw new Error(`stopped after ${MAX_REDIRECTS} redirects`);
}

function responseTo(url: URL, socket: TLSSocket): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const sent = request(
    {
      createConnection: () => socket,
      method: "GET",
      host: url.hostname,
      path: `${url.pathname}${url.search}`,
      headers: { host: url.host, accept: "application/json" },
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    resolve,
  );
  sent.on("error", reject);
  sent.end();
  return promise;
}

const REDIRECTS: readonly (number | undefined)[] = [301, 302, 303, 307, 308];

function redirectOf({ statusCode, headers }: IncomingMessage): string | undefined {
  return REDIRECTS.includes(statusCode) ? headers.location : undefined;
}

async function documentIn(response: IncomingMessage): Promise<string> {
  const ok = response.statusCode === 200;
  const bytes = await readBody(response, ok ? MAX_DOCUMENT_BYTES : MAX_SHOWN_BYTES, ok);
  if (!ok) {
    const shown = bytes
      .toString("latin1")
      .replace(/[^ -~]+/g, " ")
      .trim();
    throw new Error(`unexpected status ${response.statusCode} fetching bundle: ${shown}`);
  }
  // SPIFFE Federation §5.2.1.3: UTF-8.
  return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
}

/** @param whole whether a longer body is an error, or cut */
async function readBody(
  response: IncomingMessage,
  limitBytes: number,
  whole: boolean,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response) {
      chunks.push(chunk as Buffer);
      length += (chunk as Buffer).length;
      if (length > limitBytes) break;
    }
  } catch (error) {
    throw new Error("the answer was cut short", { cause: error });
  }
  if (whole && length > limitBytes) {
    throw new Error(`the bundle document is longer than ${limitBytes} bytes`);
  }
  return Buffer.concat(chunks).subarray(0, limitBytes);
}
