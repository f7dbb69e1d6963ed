import type { ChallengeStream, NodeAttestorAgent } from "#attestors/attestor.ts";

/** The agent half of join_token: the token itself is the proof. It goes over the wire as plain bytes and nowhere else. */
export function createJoinTokenAgent(token: string): NodeAttestorAgent {
  return {
    type: "join_token",
    attest: async (stream: ChallengeStream) => {
      await stream.sendPayload(new TextEncoder().encode(token));
    },
  };
}
