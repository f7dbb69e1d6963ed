/** The agent half of x509pop: shows the node's certificate, and signs the server's nonce together with one of its own. */
import type { NodeAttestorAgent, NodeIdentity } from "#attestors/attestor.ts";
import type { Random } from "#clock/random.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import {
  ATTESTATION_TYPE,
  decodeChallenge,
  encodeCertificates,
  encodeResponse,
  newNonce,
} from "./payload.ts";
import { answerChallenge, proofAlgorithm } from "./proof.ts";

export interface X509popAgentParts {
  /** Gives the certificate and key to attest with; asked for each attestation. */
  readonly identity: () => Promise<NodeIdentity>;
  readonly random: Random;
}

export function createX509popAgent({ identity, random }: X509popAgentParts): NodeAttestorAgent {
  return {
    type: ATTESTATION_TYPE,
    attest: async (stream) => {
      const { privateKey, certificates } = await identity();
      await stream.sendPayload(encodeCertificates(certificates));
      const challenge = await stream.receiveChallenge();
      if (challenge === undefined) {
        throw new StatusError(StatusCode.INTERNAL, "the server asked for no proof");
      }
      await stream.sendChallengeResponse(await answer(challenge));

      async function answer(bytes: Uint8Array): Promise<Uint8Array> {
        try {
          const asked = decodeChallenge(bytes, proofAlgorithm(privateKey));
          return encodeResponse(await answerChallenge(privateKey, asked, newNonce(random)));
        } catch (error) {
          const why = errorText(error);
          throw new StatusError(
            StatusCode.INTERNAL,
            `failed to calculate challenge response: ${why}`,
          );
        }
      }
    },
  };
}
