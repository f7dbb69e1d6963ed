/**
 * gRPC over TLS, where agents connect. A client certificate is asked for and passed on unverified: which chains count is for
 * server/api/call/caller-identity.ts to say.
 */
import { constants } from "node:crypto";
import { Socket } from "node:net";
import { createServer, type TLSSocket, type TlsOptions } from "node:tls";
import { systemClock } from "#clock/clock.ts";
import type { TlsPolicy } from "#http/tls-policy.ts";
import { BoundedLog } from "#log/bounded-log.ts";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import { listenTcp } from "./listen-tcp.ts";
import {
  type ConnectionLimits,
  createInjector,
  type GrpcListener,
  type Offered,
} from "./listener.ts";
import { presentedChain } from "./presented-chain.ts";
import { ProxiedConnections, type TrustedProxies } from "./proxied-connections.ts";
import { type RemoteConnectionLimits, RemoteConnections } from "./remote-connections.ts";

const MAX_CONNECTIONS = 50_000;
/** More, so that there is one to be closed for another. */
const MAX_ACCEPTED = MAX_CONNECTIONS + 1000;
const HANG_UP_MS = 500;

/** The age as in the reference: an agent reconnects now and then, and so finds a new server certificate. */
const LIMITS: ConnectionLimits & RemoteConnectionLimits = {
  streams: 1000,
  firstCallMs: 10_000,
  requestMs: 30_000,
  idleMs: 300_000,
  ageMs: 180_000,
  pingMs: 60_000,
  connections: MAX_CONNECTIONS,
  perSource: MAX_CONNECTIONS / 4,
  strangersPerSource: 1000,
};

/** What the server shows. */
export interface TlsIdentity {
  readonly privateKeyPem: string;
  /** Leaf first. */
  readonly certificateChainPem: string;
}

export interface TlsListenerOptions extends Offered {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly identity: TlsIdentity;
  readonly policy: TlsPolicy;
  /** Balancers that say whom they carry; absent for none. */
  readonly trustedProxies?: TrustedProxies | undefined;
  readonly log: Log;
  readonly limits?: Partial<ConnectionLimits & RemoteConnectionLimits>;
}

export interface TlsListener extends GrpcListener {
  /** Shows another certificate to connections from now on. @throws Error when key and certificate do not match; the old one stays */
  setIdentity(identity: TlsIdentity): void;
}

/** @throws Error with a message for the operator when the address is taken or not ours */
export async function listenTls(options: TlsListenerOptions): Promise<TlsListener> {
  const { log } = options;
  const limits = { ...LIMITS, ...options.limits };
  const injector = createInjector(options, limits);
  const bounded = new BoundedLog({ log, clock: systemClock, lines: 1 });
  const connections = new RemoteConnections({
    limits,
    closed: (source, why) =>
      bounded.from(source, { address: source }).warn("Connection closed", { error: why }),
  });
  const server = createServer(tlsOptions(options, limits), (socket) => {
    const remoteAddress = proxied?.established(socket) ?? socket.remoteAddress ?? "";
    const refusal = refusalOf(socket);
    if (refusal !== undefined) {
      log.debug("Connection refused", { address: remoteAddress, error: refusal });
      socket.on("error", () => {});
      socket.destroy();
      return;
    }
    injector.inject(socket, {
      kind: "tls",
      remoteAddress,
      certificates: presentedChain(socket),
      isKnown: connections.recognizer(socket),
      hangUp: () => void systemClock.after(HANG_UP_MS, () => socket.destroy()),
    });
  });
  const trusted = options.trustedProxies;
  const proxied =
    trusted === undefined
      ? undefined
      : new ProxiedConnections({ trusted, handshakeMs: limits.firstCallMs, next: server, log });
  const listening = proxied?.server ?? server;
  listening.maxConnections = MAX_ACCEPTED;
  // As soon as there is a connection, and, behind a balancer, its header: long before there is TLS.
  server.on("connection", (socket: Socket) =>
    connections.add(socket, proxied?.addressOf(socket) ?? socket.remoteAddress ?? ""),
  );
  server.on("tlsClientError", (error, socket) => {
    const failed = stillNamed(socket);
    const remoteAddress = proxied?.addressOf(failed) ?? failed.remoteAddress ?? "";
    // Whoever can connect can have it written, so it is not for a log that is always on.
    log.debug("TLS handshake failed", { address: remoteAddress, error: errorText(error) });
    socket.destroy();
  });
  const address = await listenTcp(listening, options);
  listening.on("error", (error) =>
    log.error("Listener failed", { address, error: errorText(error) }),
  );
  return {
    address,
    setIdentity: (identity) =>
      server.setSecureContext(tlsOptions({ ...options, identity }, limits)),
    close: async (graceMs) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      listening.close(() => resolve());
      await injector.close(graceMs);
      await promise;
    },
  };
}

function tlsOptions(
  { identity, policy }: TlsListenerOptions,
  limits: ConnectionLimits,
): TlsOptions {
  return {
    ...policy,
    key: identity.privateKeyPem,
    cert: identity.certificateChainPem,
    // None of the system's: the stack judges no chain here. Left out, it would read them all, and trust them.
    ca: [],
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ["h2"],
    // A resumed session would carry the client certificate of an earlier connection.
    secureOptions: constants.SSL_OP_NO_TICKET,
    handshakeTimeout: limits.firstCallMs,
  };
}

/** A socket whose handshake failed at once may have forgotten where it came from; the one below it has not. */
function stillNamed(socket: TLSSocket): Socket {
  const below: unknown = Reflect.get(socket, "_parent");
  return socket.remoteAddress === undefined && below instanceof Socket ? below : socket;
}

/** The TLS stack turns away a client that offers other protocols, but lets one pass that offers none (RFC 9113 §3.3 wants h2). */
function refusalOf(socket: TLSSocket): string | undefined {
  return socket.alpnProtocol === "h2" ? undefined : "the client does not offer HTTP/2 by ALPN";
}
