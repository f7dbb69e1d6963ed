/**
 * The one error class of the project. Its code is the gRPC status a caller sees, its message is meant for that caller,
 * and its cause stays in the log. Nothing secret ever goes into a message.
 */

/** The canonical gRPC status codes, by their wire numbers. */
export const StatusCode = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type StatusCode = (typeof StatusCode)[keyof typeof StatusCode];

/** The codes by number, as Go's gRPC spells them, and so the reference in its log, its metrics and its commands. */
const STATUS_CODE_NAMES: readonly string[] = [
  "OK",
  "Canceled",
  "Unknown",
  "InvalidArgument",
  "DeadlineExceeded",
  "NotFound",
  "AlreadyExists",
  "PermissionDenied",
  "ResourceExhausted",
  "FailedPrecondition",
  "Aborted",
  "OutOfRange",
  "Unimplemented",
  "Internal",
  "Unavailable",
  "DataLoss",
  "Unauthenticated",
];

/** `AlreadyExists` for 6; undefined for a number that is no code. */
export function statusCodeName(code: number): string | undefined {
  return STATUS_CODE_NAMES[code];
}

/** Why an agent is turned away; the wire carries it as spire.api.types.PermissionDeniedDetails. */
export type PermissionDeniedReason =
  | "AGENT_EXPIRED"
  | "AGENT_NOT_ACTIVE"
  | "AGENT_NOT_ATTESTED"
  | "AGENT_MUST_REATTEST"
  | "AGENT_BANNED";

export interface StatusErrorOptions {
  /** The internal cause: logged, never sent. */
  readonly cause?: unknown;
  /** Set for PERMISSION_DENIED answers that tell an agent what became of it. */
  readonly reason?: PermissionDeniedReason;
}

export class StatusError extends Error {
  override readonly name: string = "StatusError";
  readonly code: StatusCode;
  readonly reason: PermissionDeniedReason | undefined;

  constructor(code: StatusCode, message: string, options: StatusErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.reason = options.reason;
  }
}

/** The text of whatever was thrown; for building messages out of causes that are safe to show. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
