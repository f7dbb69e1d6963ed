/** gRPC on a Unix socket, where the kernel says who calls. */
import { createServer, type Socket } from "node:net";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import {
  type ConnectionLimits,
  createInjector,
  type GrpcListener,
  type Offered,
} from "./listener.ts";
import { inspectPeer, type UnixPeer } from "./peer.ts";
import { closing, listenAt, type UnixSocketOptions } from "./unix-socket.ts";

const MAX_CONNECTIONS = 10_000;

export interface UnixConnectionLimits extends ConnectionLimits {
  /** Connections of one user at a time, so that none can keep the others out. */
  readonly connectionsPerUid: number;
}

const LIMITS: UnixConnectionLimits = {
  streams: 1000,
  firstCallMs: 10_000,
  requestMs: 30_000,
  idleMs: 600_000,
  connectionsPerUid: MAX_CONNECTIONS / 4,
};

export interface UnixListenerOptions extends Offered, UnixSocketOptions {
  /** Whether a caller is served whose process has no pid here, as it lives in another pid namespace; refused where absent. */
  readonly fromOtherNamespaces?: boolean;
  readonly log: Log;
  readonly limits?: Partial<UnixConnectionLimits>;
}

/** @throws Error with a message for the operator: path too long, held by a live process, not a socket, no permission */
export async function listenUnix(options: UnixListenerOptions): Promise<GrpcListener> {
  const { path } = options;
  const limits = { ...LIMITS, ...options.limits };
  const injector = createInjector(options, limits);
  const users = new ConnectionCounts(limits.connectionsPerUid);
  const server = createServer((socket) => {
    try {
      const peer = inspectPeer(socket, options.fromOtherNamespaces);
      users.add(peer, socket);
      injector.inject(socket, { kind: "unix", peer });
    } catch (error) {
      options.log.warn("Connection refused", { error: errorText(error) });
      socket.on("error", () => {});
      socket.destroy();
    }
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listenAt(server, options);
  server.on("error", (error) =>
    options.log.error("Listener failed", { path, error: errorText(error) }),
  );
  return {
    address: path,
    close: async (graceMs) => {
      const closed = closing(server);
      await injector.close(graceMs);
      await closed;
    },
  };
}

/** How many connections each user has. */
class ConnectionCounts {
  readonly #byUid = new Map<number, number>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Counts the connection until it closes. @throws Error when its user has enough */
  add(peer: UnixPeer, socket: Socket): void {
    const count = this.#byUid.get(peer.uid) ?? 0;
    if (count >= this.#limit) {
      peer.close();
      throw new Error(`user ${peer.uid} has ${count} connections already`);
    }
    this.#byUid.set(peer.uid, count + 1);
    socket.once("close", () => {
      const left = (this.#byUid.get(peer.uid) ?? 1) - 1;
      if (left === 0) this.#byUid.delete(peer.uid);
      else this.#byUid.set(peer.uid, left);
    });
  }
}
