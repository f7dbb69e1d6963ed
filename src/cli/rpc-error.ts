import { connect } from "node:net";
import { SpiffeIdError } from "#spiffe/spiffe-id-error.ts";
import { errorText, StatusCode, StatusError, statusCodeName } from "#spiffe/status-error.ts";

/** `AlreadyExists` for 6; a number outside the list as `Code(99)`. */
export function codeName(code: number): string {
  return statusCodeName(code) ?? `Code(${code})`;
}

/** What a command prints for an error: a gRPC status in Go's words, anything else by its message. */
export function failureText(error: unknown): string {
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

const ERRNO_TEXTS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  ECONNREFUSED: "connection refused",
  ENAMETOOLONG: "invalid argument",
  ENOENT: "no such file or directory",
  ENOTDIR: "not a directory",
  EPERM: "operation not permitted",
};

/**
 * Words the client library's own errors as the reference's library does. An UNAVAILABLE answer is most often a socket nobody listens
 * on: it is tried once more to learn the system's reason, and when that succeeds, the answer was the server's and stays as it is.
 *
 * @param shownPath the path as the reference's client of this socket writes it
 */
export async function explainDial(
  error: unknown,
  path: string,
  shownPath: string,
): Promise<unknown> {
  if (!(error instanceof StatusError)) return error;
  if (error.code === StatusCode.DEADLINE_EXCEEDED) {
    return new StatusError(error.code, "context deadline exceeded", { cause: error });
  }
  if (error.code !== StatusCode.UNAVAILABLE) return error;
  const reason = await dialProblem(path);
  if (reason === undefined) return error;
  const message = `connection error: desc = "transport: Error while dialing: dial unix ${shownPath}: connect: ${reason}"`;
  return new StatusError(StatusCode.UNAVAILABLE, message, { cause: error });
}

function dialProblem(path: string): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const socket = connect({ path });
  socket.once("connect", () => {
    socket.destroy();
    resolve(undefined);
  });
  socket.once("error", (error: NodeJS.ErrnoException) => {
    resolve(ERRNO_TEXTS[error.code ?? ""] ?? error.message);
  });
  return promise;
}
