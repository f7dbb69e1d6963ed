/**
 * The one way to fetch a document from an address that an operator gave: a GET within limits of time and size, by the proxy where there is
 * one, to a server that has proven who it is before anything is sent. Redirects are followed, each of them to a server that proves the same.
 */
import { type IncomingMessage, type RequestOptions, request } from "node:http";
import type { Clock } from "#clock/clock.ts";

const MAX_HEADER_BYTES = 16 * 1024;
const MAX_REDIRECTS = 10;
const MAX_SHOWN_BYTES = 200;

/** A connection that carries one request. */
export interface Carrier {
  /** How the request gets onto it. */
  readonly options: Pick<RequestOptions, "createConnection" | "socketPath">;
  close(): void;
}

export interface DocumentRequest {
  readonly url: URL;
  readonly accept: string;
  /** Opens the connection to a server that is believed. @throws Error saying why there is none */
  readonly connect: (url: URL, signal: AbortSignal) => Promise<Carrier>;
  /** Where a redirect leads, if it may lead there. @throws Error */
  readonly follow: (location: URL) => URL;
  readonly maxBytes: number;
  /** Milliseconds for everything: names, connections, redirects and the document. */
  readonly deadlineMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** @returns UTF-8 text. @throws Error: the reason of the signal, or why there is no document */
export async function fetchDocument(fetched: DocumentRequest): Promise<string> {
  const { clock, deadlineMs } = fetched;
  const deadline = new AbortController();
  const timer = clock.after(deadlineMs, () => {
    deadline.abort(new Error(`the endpoint did not answer within ${deadlineMs / 1000} s`));
  });
  const signal = AbortSignal.any([fetched.signal, deadline.signal]);
  try {
    return await followed(fetched, signal);
  } catch (error) {
    // A connection that was cut says no more than that.
    throw signal.aborted ? signal.reason : error;
  } finally {
    timer.cancel();
  }
}

async function followed(fetched: DocumentRequest, signal: AbortSignal): Promise<string> {
  let { url } = fetched;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const carrier = await fetched.connect(url, signal);
    try {
      const response = await responseTo(url, fetched.accept, carrier, signal);
      const location = redirectOf(response);
      if (location === undefined) return await documentIn(response, fetched.maxBytes);
      url = fetched.follow(new URL(location, url));
    } finally {
      carrier.close();
    }
  }
  throw new Error(`stopped after ${MAX_REDIRECTS} redirects`);
}

function responseTo(
  url: URL,
  accept: string,
  { options }: Carrier,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const sent = request(
    {
      ...options,
      method: "GET",
      host: url.hostname,
      path: `${url.pathname}${url.search}`,
      headers: { host: url.host, accept },
      maxHeaderSize: MAX_HEADER_BYTES,
      signal,
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

async function documentIn(response: IncomingMessage, maxBytes: number): Promise<string> {
  const ok = response.statusCode === 200;
  const bytes = await readBody(response, ok ? maxBytes : MAX_SHOWN_BYTES, ok);
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
