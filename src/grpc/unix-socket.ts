/**
 * A Unix socket to be listened on. One that a live process holds is left alone; one that nobody answers on is a leftover and is replaced.
 */
import { chmod, lstat, mkdir, rm } from "node:fs/promises";
import { connect, type Server } from "node:net";
import { dirname, resolve as resolvePath } from "node:path";
import { errorText } from "#spiffe/status-error.ts";

/** sun_path has 108 bytes, one of them for the end. */
const MAX_PATH_BYTES = 107;

export interface UnixSocketOptions {
  readonly path: string;
  /** Permission bits of the socket, for instance 0o777. */
  readonly socketMode: number;
  /** Permission bits of its directory where we make it. */
  readonly directoryMode: number;
  /** A socket that listens at that path already, made by systemd and then ours to close; its modes are systemd's. */
  readonly descriptor?: number | undefined;
}

/** @throws Error with a message for the operator: path too long, held by a live process, not a socket, no permission */
export async function listenAt(server: Server, options: UnixSocketOptions): Promise<void> {
  const { path, descriptor } = options;
  if (descriptor === undefined) await preparePath(path, options.directoryMode);
  await listen(server, path, descriptor);
  if (descriptor === undefined) await chmod(path, options.socketMode);
}

/** Resolves once it takes no more connections and those it had have ended. */
export function closing(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  return promise;
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
