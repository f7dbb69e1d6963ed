/**
 * A Unix socket to be listened on. One that a live process holds is left alone; one that nobody answers on is a leftover and is replaced.
 */
import { lstat, rm } from "node:fs/promises";
import { connect, type Server } from "node:net";
import { dirname } from "node:path";
import { makeSafeDirectory, withUmask } from "#files/safe-path.ts";
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

/**
 * @throws Error with a message for the operator: path too long, in a directory that somebody else can change, held by a live process, not a
 *   socket, no permission
 */
export async function listenAt(server: Server, options: UnixSocketOptions): Promise<void> {
  const { path, descriptor } = options;
  if (descriptor !== undefined) return await listen(server, path, { fd: descriptor });
  await preparePath(path, options.directoryMode);
  // The socket is made with its mode: at its path something else could stand by the time a mode is set.
  const umask = 0o777 & ~options.socketMode;
  await withUmask(umask, () => listen(server, path, { path }));
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
  try {
    makeSafeDirectory(dirname(path), directoryMode);
  } catch (error) {
    throw new Error(`cannot listen on ${path}: ${errorText(error)}`, { cause: error });
  }
  await makeRoom(path);
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

/** Binds before it returns; resolves when it listens. */
function listen(
  server: Server,
  path: string,
  where: { readonly path: string } | { readonly fd: number },
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const failed = (error: Error): void =>
    reject(new Error(`cannot listen on ${path}: ${errorText(error)}`));
  server.once("error", failed);
  server.listen(where, () => {
    server.off("error", failed);
    resolve();
  });
  return promise;
}
