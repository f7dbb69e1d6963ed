/**
 * gRPC over TLS, where agents connect. A client certificate is asked for and passed on unverified: which chains count is for
 * server/api/caller-identity.ts to say.
 */
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import type { BoundService } from "./bind.ts";
import { createInjector, type GrpcListener } from "./listener.ts";

const MAX_CONNECTIONS = 50_000;
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** As the reference: an agent reconnects now and then, and so finds a new server certificate. */
const MAX_CONNECTION_AGE_MS = 180_000;
const MAX_CHAIN_LENGTH = 10;

/** What the server shows. */
export interface TlsIdentity {
  readonly privateKeyPem: string;
  /** Leaf first. */
  readonly certificateChainPem: string;
}

export interface TlsListenerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly identity: TlsIdentity;
  readonly services: readonly BoundService[];
  readonly log: Log;
}

export interface TlsListener extends GrpcListener {
  /** Shows another certificate to connections from now on. */
  setIdentity(identity: TlsIdentity): void;
}

/** @throws Error with a message for the operator when the address is taken or not ours */
export async function listenTls(options: TlsListenerOptions): Promise<TlsListener> {
  const injector = createInjector(options.services, {
    "grpc.max_connection_age_ms": MAX_CONNECTION_AGE_MS,
  });
  const server = createServer(
    {
      ...secureContext(options.identity),
      minVersion: "TLSv1.2",
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: ["h2"],
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    },
    (socket) => {
      injector.inject(socket, {
        kind: "tls",
        remoteAddress: socket.remoteAddress ?? "",
        certificates: clientCertificates(socket),
      });
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.on("tlsClientError", (error, socket) => {
    options.log.debug("TLS handshake failed", { error: errorText(error) });
    socket.destroy();
  });
  const address = await listen(server, options);
  return {
    address,
    setIdentity: (identity) => server.setSecureContext(secureContext(identity)),
    close: async (graceMs) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      await injector.close(graceMs);
      await promise;
    },
  };
}

function secureContext(identity: TlsIdentity): { key: string; cert: string } {
  return { key: identity.privateKeyPem, cert: identity.certificateChainPem };
}

/** The chain the client sent, leaf first. A self-signed end points to itself. */
function clientCertificates(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate = socket.getPeerCertificate(true) as PeerCertificate | undefined;
  while (certificate?.raw !== undefined && chain.length < MAX_CHAIN_LENGTH) {
    chain.push(certificate.raw);
    const issuer = certificate.issuerCertificate;
    if (issuer === undefined || issuer === certificate) break;
    certificate = issuer;
  }
  return chain;
}

/** What Bun really gives: an empty object when there is no certificate. */
interface PeerCertificate {
  readonly raw?: Buffer;
  readonly issuerCertificate?: PeerCertificate;
}

function listen(server: Server, { host, port }: TlsListenerOptions): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  server.once("error", (error: NodeJS.ErrnoException) => {
    const why =
      error.code === "EADDRINUSE" ? "another process is using the address" : errorText(error);
    reject(new Error(`cannot listen on ${host}:${port}: ${why}`));
  });
  server.listen({ host, port }, () => {
    const address = server.address();
    resolve(typeof address === "object" && address !== null ? `${host}:${address.port}` : host);
  });
  return promise;
}
