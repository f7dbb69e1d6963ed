/** The server half of join_token: a token is taken in one step, so of two nodes with the same token one is let in. */
import type { NodeAttestation, NodeAttestorServer } from "#attestors/attestor.ts";
import type { Clock } from "#clock/clock.ts";
import { agentId } from "#spiffe/reserved-id.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";

/** Longer than any token there is. */
const MAX_TOKEN_BYTES = 1024;

export interface JoinTokenParts {
  /** Removes the token and gives its expiry in Unix seconds; undefined when there is no such token. */
  readonly takeToken: (token: string) => Promise<{ readonly expiresAt: number } | undefined>;
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
}

export function createJoinTokenServer(parts: JoinTokenParts): NodeAttestorServer {
  return {
    type: "join_token",
    attest: async (payload): Promise<NodeAttestation> => {
      const token = readToken(payload);
      const taken = await parts.takeToken(token);
      if (taken === undefined) {
        throw refusal("failed to attest: join token does not exist or has already been used");
      }
      if (taken.expiresAt < parts.clock.nowSeconds()) throw refusal("join token expired");
      const id = agentId(parts.trustDomain, `join_token/${token}`);
      return { agentId: id.toString(), selectors: [], canReattest: false };
    },
  };
}

/** A token that cannot end an agent ID was never handed out. */
function readToken(payload: Uint8Array): string {
  const token = new TextDecoder().decode(payload);
  if (payload.length > MAX_TOKEN_BYTES || !/^[A-Za-z0-9._-]+$/.test(token)) {
    throw refusal("failed to attest: join token does not exist or has already been used");
  }
  return token;
}

function refusal(message: string): StatusError {
  return new StatusError(StatusCode.INVALID_ARGUMENT, message);
}
