/**
 * The server half of join_token. Here a token is only looked at; it is used up in the transaction that stores the node, so of
 * two nodes with the same token one is let in. An answer that gets lost on the way back burns no token: for a minute the
 * node may ask again, and is known by its key.
 */
import { createHash } from "node:crypto";
import type {
  JoinTokenClaim,
  NodeAttestation,
  NodeAttestorServer,
  NodeAttestorServerParts,
} from "#attestors/attestor.ts";
import { agentId } from "#spiffe/reserved-id.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

/** Longer than any token there is. */
const MAX_TOKEN_BYTES = 1024;

/** How long after its use a token still lets in the key that used it. An agent waits half of that for an answer. */
export const REPEAT_SECONDS = 60;

type JoinTokenParts = Pick<NodeAttestorServerParts, "joinTokens" | "trustDomain" | "clock">;

export function createJoinTokenServer(parts: JoinTokenParts): NodeAttestorServer {
  return {
    type: "join_token",
    attest: async (payload, _challenge, { publicKeySpki }): Promise<NodeAttestation> => {
      const token = readToken(payload);
      const now = parts.clock.nowSeconds();
      const joinToken: JoinTokenClaim = {
        token,
        publicKeySha256: createHash("sha256").update(publicKeySpki).digest(),
        now,
        usedSince: now - REPEAT_SECONDS,
      };
      const found = await parts.joinTokens.find(joinToken);
      if (found === undefined) throw joinTokenRefusal();
      if (found.expiresAt < now) throw refusal("join token expired");
      const id = found.rejoins ?? agentId(parts.trustDomain, `join_token/${token}`).toString();
      return { agentId: id, selectors: [], canReattest: false, joinToken };
    },
  };
}

/** A token that cannot end an agent ID was never handed out. */
function readToken(payload: Uint8Array): string {
  const token = new TextDecoder().decode(payload);
  if (payload.length > MAX_TOKEN_BYTES || !/^[A-Za-z0-9._-]+$/.test(token)) {
    throw joinTokenRefusal();
  }
  return token;
}

/** What a node reads whose token is not good, or not any more. It does not say which. */
export function joinTokenRefusal(): StatusError {
  return refusal("failed to attest: join token does not exist or has already been used");
}

function refusal(message: string): StatusError {
  return new StatusError(StatusCode.INVALID_ARGUMENT, message);
}
