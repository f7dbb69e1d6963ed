import type { Log } from "#log/log.ts";
import type { Status } from "#proto/spire/api/types/status.ts";
import { problemText } from "#spiffe/spiffe-id-error.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

/**
 * The error an RPC answers: `message: inner`, as clients of the reference match it.
 *
 * What the caller sent may be quoted back, so INVALID_ARGUMENT shows its cause, whatever it is. Any other code shows a
 * cause only when it is a StatusError, whose message is meant for callers; the rest stays in the log. NOT_FOUND never
 * shows one.
 */
export function failure(code: StatusCode, message: string, cause?: unknown): StatusError {
  if (cause === undefined) return new StatusError(code, message);
  const shown =
    code !== StatusCode.NOT_FOUND &&
    (code === StatusCode.INVALID_ARGUMENT || cause instanceof StatusError);
  return new StatusError(code, shown ? `${message}: ${problemText(cause)}` : message, { cause });
}

/** INVALID_ARGUMENT, the most frequent failure. */
export function invalidArgument(message: string, cause?: unknown): StatusError {
  return failure(StatusCode.INVALID_ARGUMENT, message, cause);
}

/** The code of a StatusError, INTERNAL for whatever else was thrown. */
export function codeOf(error: unknown): StatusCode {
  return error instanceof StatusError ? error.code : StatusCode.INTERNAL;
}

const CALLERS_MISTAKES: ReadonlySet<StatusCode> = new Set([
  StatusCode.CANCELLED,
  StatusCode.INVALID_ARGUMENT,
  StatusCode.NOT_FOUND,
  StatusCode.ALREADY_EXISTS,
  StatusCode.PERMISSION_DENIED,
  StatusCode.RESOURCE_EXHAUSTED,
  StatusCode.FAILED_PRECONDITION,
  StatusCode.OUT_OF_RANGE,
  StatusCode.UNIMPLEMENTED,
  StatusCode.UNAUTHENTICATED,
]);

/** Writes down what a call failed with: a mistake of the caller's is a warning, and only a fault of the server's is an error. */
export function logFailure(log: Log, { code, message, cause }: StatusError): void {
  const fields = { error: cause };
  if (CALLERS_MISTAKES.has(code)) log.warn(message, fields);
  else log.error(message, fields);
}

/** Of an SVID for an entry that is none of the calling agent's, or none at all: which of the two, it does not learn. */
export function unknownEntry(): StatusError {
  return new StatusError(StatusCode.NOT_FOUND, "entry not found or not authorized");
}

/** The status of a batch item that succeeded. */
export function okStatus(): Status {
  return { code: StatusCode.OK, message: "OK" };
}

/** The status of a batch item that failed. */
export function statusOf(error: StatusError): Status {
  return { code: error.code, message: error.message };
}

/** Whatever was thrown, as the StatusError an RPC answers. */
export function asStatusError(error: unknown): StatusError {
  return error instanceof StatusError
    ? error
    : new StatusError(StatusCode.INTERNAL, "internal error", { cause: error });
}
