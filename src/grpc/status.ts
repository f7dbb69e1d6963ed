/** Between StatusError and what grpc-js carries: code, message, and the typed details in the trailer. */
import { Metadata, type ServiceError } from "@grpc/grpc-js";
import { Status } from "#proto/google/rpc/status.ts";
import {
  PermissionDeniedDetails,
  PermissionDeniedDetails_Reason,
} from "#proto/spire/api/types/status.ts";
import { type PermissionDeniedReason, StatusCode, StatusError } from "#spiffe/status-error.ts";
import { dialWords } from "./dial-words.ts";

const DETAILS_TRAILER = "grpc-status-details-bin";
const DETAILS_TYPE = "type.googleapis.com/spire.api.types.PermissionDeniedDetails";

/** What grpc-js sends for an error. Anything but a StatusError is ours to look into, not the caller's to read. */
export function toServiceError(error: unknown): {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
} {
  const metadata = new Metadata();
  if (!(error instanceof StatusError)) {
    return { code: StatusCode.INTERNAL, details: "internal error", metadata };
  }
  if (error.reason !== undefined) {
    const details = PermissionDeniedDetails.fromPartial({
      reason: PermissionDeniedDetails_Reason[error.reason],
    });
    const value = PermissionDeniedDetails.encode(details).finish();
    const status = Status.fromPartial({
      code: error.code,
      message: error.message,
      details: [{ typeUrl: DETAILS_TYPE, value }],
    });
    metadata.set(DETAILS_TRAILER, Buffer.from(Status.encode(status).finish()));
  }
  return { code: error.code, details: error.message, metadata };
}

/** The StatusError for what a grpc-js client reports. */
export function statusErrorFrom(error: ServiceError): StatusError {
  const code =
    Object.values(StatusCode).find((known) => known === error.code) ?? StatusCode.UNKNOWN;
  const reason = reasonOf(error.metadata);
  return new StatusError(code, dialWords(error.details ?? error.message), {
    cause: error,
    ...(reason === undefined ? {} : { reason }),
  });
}

function reasonOf(metadata: Metadata | undefined): PermissionDeniedReason | undefined {
  const [trailer] = metadata?.get(DETAILS_TRAILER) ?? [];
  if (!Buffer.isBuffer(trailer)) return undefined;
  try {
    const detail = Status.decode(trailer).details.find(({ typeUrl }) => typeUrl === DETAILS_TYPE);
    if (detail === undefined) return undefined;
    const { reason } = PermissionDeniedDetails.decode(detail.value);
    const name = Object.entries(PermissionDeniedDetails_Reason).find(
      ([, value]) => value === reason,
    )?.[0];
    return REASONS.find((known) => known === name);
  } catch {
    // Details are an extra; a peer that garbles them still gave us code and message.
    return undefined;
  }
}

const REASONS: readonly PermissionDeniedReason[] = [
  "AGENT_EXPIRED",
  "AGENT_NOT_ACTIVE",
  "AGENT_NOT_ATTESTED",
  "AGENT_MUST_REATTEST",
  "AGENT_BANNED",
];
