/** gRPC on a Unix socket, where the kernel says who calls. */
import { createServer, type Socket } from "node:net";
import { systemClock } from "#clock/clock.ts";
import { BoundedLog } from "#log/bounded-log.ts";
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
import { UserShares } from "./user-shares.ts";

const LIMITS: ConnectionLimits = {
  streams: 1000,
  firstCallMs: 10_000,
  requestMs: 30_000,
  idleMs: 600_000,
};

export interface UnixListenerOptions extends Offered, UnixSocketOptions {
  /** Whether a caller is served whose process has no pid here, as it lives in another pid namespace; refused where absent. */
  readonly fromOtherNamespaces?: boolean;
  /** Whether whoever may open the socket is somebody, whose connection does not make room for another. */
  readonly isForKnown?: boolean;
  /** What users may take up here and at the process's other sockets; what they may at this one alone where absent. */
  readonly shares?: UserShares;
  readonly log: Log;
  readonly limits?: Partial<ConnectionLimits>;
}

/** @throws Error with a message for the operator: path too long, held by a live process, not a socket, no permission */
export async function listenUnix(options: UnixListenerOptions): Promise<GrpcListener> {
  const { path, isForKnown = false, shares = new UserShares() } = options;
  const limits = { ...LIMITS, ...options.limits };
  const injector = createInjector(options, limits);
  const refusals = new BoundedLog({ log: options.log, clock: systemClock });
  const refuse = (socket: Socket, source: string, error: unknown): void => {
    refusals.from(source).warn("Connection refused", { error: errorText(error) });
    socket.on("error", () => {});
    socket.destroy();
  };
  const server = createServer((socket) => {
    let peer: UnixPeer | undefined;
    try {
      peer = inspectPeer(socket, options.fromOtherNamespaces);
      const share = shares.connect(peer.uid, () => {
        const why = "it makes room for another user's: its caller has no identity";
        refuse(socket, `uid ${peer?.uid}`, why);
      });
      if (isForKnown) share.identified();
      injector.inject(socket, { kind: "unix", peer, share });
    } catch (error) {
      peer?.close();
      refuse(socket, peer === undefined ? "unknown" : `uid ${peer.uid}`, error);
    }
  });
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
