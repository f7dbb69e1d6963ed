/** What the server's refusals mean to the agent, and which of them are the end. */
import { OtherTrustDomainError } from "#agent/attestation/other-trust-domain.ts";
import { CannotAttestError } from "#attestors/attestor.ts";
import { JoinWordError } from "#spiffe/join-word.ts";
import { type PermissionDeniedReason, StatusCode, StatusError } from "#spiffe/status-error.ts";

const JOIN_TOKEN_ATTESTOR = "join_token";

/** Answers to an attestation that no repetition changes: the token is spent, the agent is banned, the attestor is not known. */
const FINAL: readonly StatusCode[] = [
  StatusCode.PERMISSION_DENIED,
  StatusCode.INVALID_ARGUMENT,
  StatusCode.FAILED_PRECONDITION,
];

/** sysexits.h EX_NOPERM: the units of the packages do not start an agent again that ends with it. */
const EXIT_REFUSED = 77;

/**
 * The server refuses this node for good, by its token or by name, or there is no token that could be one: whoever starts the agent again
 * would only hear the same.
 */
class NodeRefusedError extends StatusError {
  override readonly name: string = "NodeRefusedError";
}

/** A new start would end the same way. */
const ENDS = [NodeRefusedError, JoinWordError, OtherTrustDomainError] as const;

const TOKEN_ADVICE =
  "have the server make a new token or join word (spire-server token generate), and start the agent with it";
const BAN_ADVICE = "an operator has to evict the agent on the server before it can join again";

/** The server's answer to an attestation, with what can be done about it where it is the last one. */
export function explainRefusal(error: unknown, attestorType: string): unknown {
  if (!(error instanceof StatusError)) return error;
  const isToken =
    error.code === StatusCode.INVALID_ARGUMENT && attestorType === JOIN_TOKEN_ATTESTOR;
  const isBan = error.code === StatusCode.PERMISSION_DENIED && /banned/.test(error.message);
  if (!isToken && !isBan) return error;
  return new NodeRefusedError(
    error.code,
    `${error.message}: ${isToken ? TOKEN_ADVICE : BAN_ADVICE}`,
    {
      cause: error,
      ...(error.reason === undefined ? {} : { reason: error.reason }),
    },
  );
}

/** The exit code of an agent that ended with that error. */
export function exitCodeOf(error: unknown): number {
  for (let one = error; one instanceof Error; one = one.cause) {
    const isBan = reasonOf(one) === "AGENT_BANNED";
    if (isBan || ENDS.some((End) => one instanceof End)) return EXIT_REFUSED;
  }
  return 1;
}

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
