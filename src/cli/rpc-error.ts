import { connect } from "node:net";
import { SpiffeIdError } from "#spiffe/spiffe-id-error.ts";
import { errorText, StatusCode, StatusError, statusCodeName } from "#spiffe/status-error.ts";

/** `AlreadyExists` for 6; a number outside the list as `Code(99)`. */
export function codeName(code: number): string {
  return statusCodeName(code) ?? `Code(${code})`;
}

/** What a command prints for an error: a gRPC status in Go's words, anything else by its message. */
export function failureText(error: unknown): string {
  if (error instanceof UnreachableError) return error.message;
  if (error instanceof StatusError) {
    return `rpc error: code = ${codeName(error.code)} desc = ${error.message}`;
  }
  // The value is on the user's own command line; the reference says only what is wrong with it.
  if (error instanceof SpiffeIdError) return error.problem;
  return errorText(error);
}

/** Puts words in front of whatever goes wrong: `failed to list agents: rpc error: …`. */
export async function explained<T>(words: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new Error(`${words}: ${failureText(error)}`, { cause: error });
  }
}

/** There is no way to the daemon behind a socket; the message says why, in words of its own. */
class UnreachableError extends StatusError {
  override readonly name: string = "UnreachableError";
}

/** Codes that a call gets on this side when it is given up. */
const GIVEN_UP: readonly StatusCode[] = [StatusCode.CANCELLED, StatusCode.DEADLINE_EXCEEDED];

/** Which daemon a socket is of. */
export interface Daemon {
  /** What listens there: `server`. */
  readonly kind: "server" | "agent";
  /** The executable: `spire-server`. */
  readonly program: string;
  /** What it may be at when it takes connections and does not answer. */
  readonly whenSilent: string;
}

/**
 * Says why a daemon cannot be reached. An UNAVAILABLE answer is most often a socket nobody listens on: it is tried once more to learn the
 * system's reason, and when that succeeds, the answer was the daemon's and stays as it is.
 *
 * @param timeoutMs after how many milliseconds a call that was cancelled, or whose time was up, was given up
 */
export async function explainDial(
  error: unknown,
  path: string,
  daemon: Daemon,
  timeoutMs: number | undefined,
): Promise<unknown> {
  if (!(error instanceof StatusError)) return error;
  if (GIVEN_UP.includes(error.code) && timeoutMs !== undefined) {
    const message = `nothing answered on ${path} within ${timeoutMs / 1000} s: ${daemon.whenSilent}`;
    return new UnreachableError(StatusCode.DEADLINE_EXCEEDED, message, { cause: error });
  }
  if (error.code !== StatusCode.UNAVAILABLE) return error;
  const code = await dialProblem(path);
  if (code === undefined) return error;
  const message = dialText(code, path, daemon);
  return new UnreachableError(StatusCode.UNAVAILABLE, message, { cause: error });
}

function dialText(code: string, path: string, { kind, program }: Daemon): string {
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
    case "ECONNREFUSED":
      return `no ${kind} listens on ${path}: is ${program} running?`;
    case "EACCES":
    case "EPERM":
      return `you have no permission to use ${path}: run this as root, or as a member of the group that the socket belongs to`;
    case "ENAMETOOLONG":
      return `the path is too long for a socket: ${path}`;
    default:
      return `${path} cannot be used: ${code}`;
  }
}

/** @returns the system's code, such as ENOENT; undefined when somebody listens */
function dialProblem(path: string): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const socket = connect({ path });
  socket.once("connect", () => {
    socket.destroy();
    resolve(undefined);
  });
  socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  return promise;
}
