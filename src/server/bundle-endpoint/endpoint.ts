/**
 * The bundle endpoint (SPIFFE Federation §5): HTTPS, `GET /`, the trust domain's own bundle. Open to everybody, as the standard demands, so it
 * gives a stranger as little as there is: one request a connection, a few seconds, a few kilobytes.
 */
import { constants } from "node:crypto";
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { Socket } from "node:net";
import { createServer, type TlsOptions } from "node:tls";
import type { Clock } from "#clock/clock.ts";
import { listenTcp } from "#grpc/listen-tcp.ts";
import { RemoteConnections } from "#grpc/remote-connections.ts";
import type { TlsIdentity } from "#grpc/tls-listener.ts";
import type { TlsPolicy } from "#http/tls-policy.ts";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";

const HANDSHAKE_MS = 10_000;
/** From the first byte to the last one of the answer. */
const EXCHANGE_MS = 20_000;
/** Those of one address make room for each other, and the oldest of all for others. */
const LIMITS = { connections: 1000, perSource: 250, strangersPerSource: 250 };
/** More, so that there is one to be closed for another. */
const MAX_ACCEPTED = 1100;
const MAX_HEADER_BYTES = 8 * 1024;

/** SPIFFE Federation §5.2 demands Mozilla's "intermediate" for TLS 1.2; 1.3 has no others. */
const CIPHERS = [
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");

export interface BundleEndpointOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly identity: TlsIdentity;
  readonly policy: TlsPolicy;
  /** The answer to a good request. */
  readonly document: () => Promise<Buffer>;
  readonly clock: Clock;
  readonly log: Log;
}

export interface BundleEndpoint {
  /** `host:port` */
  readonly address: string;
  /** Shows another certificate from now on. @throws Error when key and certificate do not match; the old one stays */
  setIdentity(identity: TlsIdentity): void;
  /** Ends all connections. */
  close(): Promise<void>;
}

/** @throws Error with a message for the operator: the address is taken, or key and certificate do not match */
export async function serveBundleEndpoint(options: BundleEndpointOptions): Promise<BundleEndpoint> {
  const { clock, log } = options;
  const open = new Set<Socket>();
  const asked = new WeakSet<object>();
  const connections = new RemoteConnections({
    limits: LIMITS,
    closed: (address, error) => log.debug("Connection closed", { address, error }),
  });
  const http = createHttpServer({ maxHeaderSize: MAX_HEADER_BYTES }, (request, response) => {
    // One request a connection; further ones would only queue up answers.
    if (asked.has(request.socket)) return;
    asked.add(request.socket);
    void answer(request, response, options);
  });
  const server = createServer(tlsOptions(options), (socket) => {
    http.emit("connection", socket);
  });
  // From its first byte on, not only once it speaks TLS.
  server.on("connection", (socket) => {
    const deadline = clock.after(EXCHANGE_MS, () => socket.destroy());
    open.add(socket);
    connections.add(socket, socket.remoteAddress ?? "");
    socket.on("error", () => {});
    socket.once("close", () => {
      deadline.cancel();
      open.delete(socket);
    });
  });
  server.maxConnections = MAX_ACCEPTED;
  server.on("tlsClientError", (error, socket) => {
    log.debug("TLS handshake failed", { error: errorText(error) });
    socket.destroy();
  });
  const address = await listenTcp(server, options);
  server.on("error", (error) => log.error("Bundle endpoint failed", { error: errorText(error) }));
  return {
    address,
    setIdentity: (identity) => server.setSecureContext(tlsOptions({ ...options, identity })),
    close: async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      for (const socket of open) socket.destroy();
      await promise;
    },
  };
}

function tlsOptions({ identity, policy }: BundleEndpointOptions): TlsOptions {
  return {
    ...policy,
    key: identity.privateKeyPem,
    cert: identity.certificateChainPem,
    ciphers: CIPHERS,
    ALPNProtocols: ["http/1.1"],
    // A resumed session would show no certificate, so nobody would see that it was replaced.
    secureOptions: constants.SSL_OP_NO_TICKET,
    handshakeTimeout: HANDSHAKE_MS,
  };
}

async function answer(
  { method, url = "" }: IncomingMessage,
  response: ServerResponse,
  { document, log }: BundleEndpointOptions,
): Promise<void> {
  if (method !== "GET") {
    send(response, 405, PLAIN, "405 method not allowed\n", { allow: "GET" });
  } else if (pathOf(url) !== "/") {
    send(response, 404, PLAIN, "404 page not found\n");
  } else {
    try {
      send(response, 200, "application/json", await document());
    } catch (error) {
      log.error("Unable to retrieve local bundle", { error });
      send(response, 500, PLAIN, "500 unable to retrieve local bundle\n");
    }
  }
}

const PLAIN = "text/plain; charset=utf-8";

function send(
  response: ServerResponse,
  status: number,
  type: string,
  body: Buffer | string,
  more: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    ...more,
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    "x-content-type-options": "nosniff",
    connection: "close",
  });
  response.end(body);
}

/** The path of a request target, which a proxy may have given as a whole URL (RFC 9112 §3.2.2). */
function pathOf(target: string): string {
  const path = target.replace(/^https?:\/\/[^/?#]*/i, "").replace(/[?#].*$/s, "");
  return path === "" ? "/" : path;
}
