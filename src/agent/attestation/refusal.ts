/** What the server's refusals mean to the agent, and which of them are the end. */
import { CannotAttestError } from "#attestors/attestor.ts";
import { type PermissionDeniedReason, StatusCode, StatusError } from "#spiffe/status-error.ts";

/** Answers to an attestation that no repetition changes: the token is spent, the agent is banned, the attestor is not known. */
const FINAL: readonly StatusCode[] = [
  StatusCode.PERMISSION_DENIED,
  StatusCode.INVALID_ARGUMENT,
  StatusCode.FAILED_PRECONDITION,
];

/** Whether another try to attest would fail as this one did. */
export function isFinal(failure: unknown): boolean {
  return (
    failure instanceof CannotAttestError ||
    (failure instanceof StatusError && FINAL.includes(failure.code))
  );
}

/** The server no longer knows this agent, and the agent cannot prove its node again; it has to be joined anew. */
export class AgentRefusedError extends Error {
  override readonly name: string = "AgentRefusedError";
}

/** Why the server turns the agent away; undefined for any other failure. */
export function reasonOf(error: unknown): PermissionDeniedReason | undefined {
  return error instanceof StatusError ? error.reason : undefined;
}
