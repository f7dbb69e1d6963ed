/**
 * gRPC on a Unix socket, where the kernel says who calls. A socket that a live process holds is left alone; one that nobody answers
 * on is a leftover and is replaced.
 */
import { chmod, lstat, mkdir, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { dirname, resolve as resolvePath } from "node:path";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import {
  type ConnectionLimits,
  createInjector,
  type GrpcListener,
  type Offered,
} from "./listener.ts";
import { inspectPeer, type UnixPeer } from "./peer.ts";

/** sun_path has 108 bytes, one of them for the end. */
const MAX_PATH_BYTES = 107;
const MAX_CONNECTIONS = 10_000;

export interface UnixConnectionLimits extends ConnectionLimits {
  /** Connections of one user at a time, so that none can keep the others out. */
  readonly connectionsPerUid: number;
}

const LIMITS: UnixConnectionLimits = {
  streams: 1000,
  firstCallMs: 10_000,
  idleMs: 600_000,
  connectionsPerUid: MAX_CONNECTIONS / 4,
};

export interface UnixListenerOptions extends Offered {
  readonly path: string;
  /** Permission bits of the socket, for instance 0o777. */
  readonly socketMode: number;
  /** Permission bits of its directory where we make it. */
  readonly directoryMode: number;
  /** A socket that listens at that path already, made by systemd and then ours to close; its modes are systemd's. */
  readonly descriptor?: number | undefined;
  readonly log: Log;
  readonly limits?: Partial<UnixConnectionLimits>;
}

/** @throws Error with a message for the operator: path too long, held by a live process, not a socket, no permission */
export async function listenUnix(options: UnixListenerOptions): Promise<GrpcListener> {
  const { path, descriptor } = options;
  if (descriptor === undefined) await preparePath(path, options.directoryMode);
  const limits = { ...LIMITS, ...options.limits };
  const injector = createInjector(options, limits);
  const users = new ConnectionCounts(limits.connectionsPerUid);
  const server = createServer((socket) => {
    try {
      const peer = inspectPeer(socket);
      users.add(peer, socket);
      injector.inject(socket, { kind: "unix", peer });
    } catch (error) {
      options.log.warn("Connection refused", { error: errorText(error) });
      socket.on("error", () => {});
      socket.destroy();
    }
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, path, descriptor);
  server.on("error", (error) =>
    options.log.error("Listener failed", { path, error: errorText(error) }),
  );
  if (descriptor === undefined) await chmod(path, options.socketMode);
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

async function preparePath(path: string, directoryMode: number): Promise<void> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw new Error(
      `socket path is longer than ${MAX_PATH_BYTES} bytes, the system's limit: ${path}`,
    );
  }
  await makeDirectory(resolvePath(dirname(path)), directoryMode);
  await makeRoom(path);
}

/** Makes what is missing of the directory, with exactly that mode: the process's umask would lock workloads out. */
async function makeDirectory(path: string, mode: number): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode });
  if (first === undefined) return;
  for (let made = path; made.startsWith(first); made = dirname(made)) await chmod(made, mode);
}

/** Removes a leftover socket, and nothing else. */
async function makeRoom(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket())
    throw new Error(`${path} exists and is not a socket; move it away or choose another path`);
  if (await isAnswered(path)) {
    throw new Error(
      `another process is listening on ${path}; stop it first or choose another socket path`,
    );
  }
  await rm(path, { force: true });
}

function isAnswered(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = connect({ path });
  probe.once("connect", () => {
    probe.destroy();
    resolve(true);
  });
  // Only a refusal proves that nobody listens; a full queue or a missing permission does not.
  probe.once("error", (error: NodeJS.ErrnoException) => {
    resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT");
  });
  return promise;
}

function listen(server: Server, path: string, fd: number | undefined): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const failed = (error: Error): void =>
    reject(new Error(`cannot listen on ${path}: ${errorText(error)}`));
  server.once("error", failed);
  server.listen(fd === undefined ? { path } : { fd }, () => {
    server.off("error", failed);
    resolve();
  });
  return promise;
}

function closing(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  return promise;
}
