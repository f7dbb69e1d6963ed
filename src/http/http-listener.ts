/**
 * A small HTTP endpoint for machines: few paths, no body, and limits that keep a stranger from costing more than a connection is worth.
 * Callers: telemetry and health checks.
 */
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { isIPv6 } from "node:net";
import { errorText } from "#spiffe/status-error.ts";
import type { TlsPolicy } from "./tls-policy.ts";

const MAX_CONNECTIONS = 256;
const MAX_HEADER_BYTES = 16 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;

export interface HttpTls {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  readonly policy: TlsPolicy;
  /** Authorities of the clients that may connect; undefined lets anybody in. */
  readonly clientCaPem?: string;
}

export interface HttpListenerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly tls?: HttpTls;
  /** Answers one request of the methods GET and HEAD; others never get here. */
  readonly answer: (path: string) => Promise<HttpAnswer>;
}

export interface HttpAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export interface HttpListener {
  /** `host:port` */
  readonly address: string;
  close(): Promise<void>;
}

/** @throws Error with a message for the operator when the address is taken or the key does not fit */
export async function listenHttp(options: HttpListenerOptions): Promise<HttpListener> {
  const server = createServer(options);
  server.maxConnections = MAX_CONNECTIONS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  const address = await listen(server, options);
  return {
    address,
    close: () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      server.closeAllConnections();
      return promise;
    },
  };
}

function createServer({ tls, answer }: HttpListenerOptions): Server {
  const handle: RequestListener = (request, response) => {
    const { method, url = "/" } = request;
    if (hasBody(request)) {
      // Nobody reads it, so the connection would stay as long as the body goes on.
      response.once("finish", () => request.socket.destroy());
      response.writeHead(413, { connection: "close" }).end();
      return;
    }
    if (method !== "GET" && method !== "HEAD") {
      response.writeHead(405, { allow: "GET, HEAD" }).end();
      return;
    }
    const [path = "/"] = url.split("?");
    answer(path).then(
      ({ status, contentType, body }) =>
        response.writeHead(status, { "content-type": contentType }).end(body),
      () => response.writeHead(500).end(),
    );
  };
  if (tls === undefined) return createHttpServer({ maxHeaderSize: MAX_HEADER_BYTES }, handle);
  return createHttpsServer(
    {
      ...tls.policy,
      cert: tls.certificatePem,
      key: tls.privateKeyPem,
      maxHeaderSize: MAX_HEADER_BYTES,
      ...(tls.clientCaPem === undefined
        ? {}
        : { ca: tls.clientCaPem, requestCert: true, rejectUnauthorized: true }),
    },
    handle,
  ) as unknown as Server;
}

function hasBody({ headers }: IncomingMessage): boolean {
  return (headers["content-length"] ?? "0") !== "0" || headers["transfer-encoding"] !== undefined;
}

function listen(server: Server, { host, port }: HttpListenerOptions): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const shown = isIPv6(host) ? `[${host}]` : host;
  const failed = (error: Error): void =>
    reject(new Error(`cannot listen on ${shown}:${port}: ${errorText(error)}`));
  server.once("error", failed);
  server.listen(port, host, () => {
    server.off("error", failed);
    const address = server.address();
    resolve(typeof address === "object" && address !== null ? `${shown}:${address.port}` : shown);
  });
  return promise;
}
