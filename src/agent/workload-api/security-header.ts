import type { CallContext } from "#grpc/bind.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

/**
 * SPIFFE Workload Endpoint §6.1: keeps a browser or a proxy from being talked into calling for somebody else.
 *
 * @throws StatusError INVALID_ARGUMENT when the request lacks the header
 */
export async function requireSecurityHeader({ metadata }: CallContext): Promise<void> {
  const values = metadata.get("workload.spiffe.io");
  if (values.length !== 1 || values[0] !== "true") {
    throw new StatusError(StatusCode.INVALID_ARGUMENT, "security header missing from request");
  }
}
