/** A node without an agent: it attests over the wire with whatever certificates it is given. */
import { credentials, type ServiceError } from "@grpc/grpc-js";
import type { NodeAttestorAgent } from "#attestors/attestor.ts";
import {
  AgentClient,
  type AttestAgentRequest,
  type AttestAgentResponse,
} from "#proto/spire/api/server/agent/v1/agent.ts";
import { createCsr } from "#x509/csr.ts";
import { generatePrivateKey, signerFromPrivateKey } from "#x509/keys.ts";
import { TRUST_DOMAIN } from "./spire.ts";

/** What came of it: the agent ID, or the status that the server refused with. */
export type Outcome = { readonly id: string } | { readonly code: number; readonly message: string };

/** Attests at the server that listens on the port of loopback, whoever that server is. */
export async function attestAt(port: number, attestor: NodeAttestorAgent): Promise<Outcome> {
  const trusting = credentials.createSsl(null, null, null, {
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  const client = new AgentClient(`127.0.0.1:${port}`, trusting, {
    "grpc.ssl_target_name_override": "localhost",
    "grpc.use_local_subchannel_pool": 1,
  });
  const csr = await createCsr({
    signer: signerFromPrivateKey(await generatePrivateKey("ec-p256")),
  });
  const call = client.attestAgent();
  call.on("error", () => {});
  const answers = call[Symbol.asyncIterator]() as AsyncIterator<AttestAgentResponse>;
  let step: AttestAgentResponse["step"];
  const exchange = async (request: AttestAgentRequest): Promise<void> => {
    call.write(request);
    step = (await answers.next()).value?.step;
  };
  try {
    await attestor.attest({
      sendPayload: (payload) => {
        const params = { data: { type: attestor.type, payload }, params: { csr } };
        return exchange({ step: { $case: "params", value: params } });
      },
      receiveChallenge: async () => (step?.$case === "challenge" ? step.value : undefined),
      sendChallengeResponse: (value) => exchange({ step: { $case: "challengeResponse", value } }),
    });
    if (step?.$case !== "result") throw new Error("the server gave no result");
    return { id: `spiffe://${TRUST_DOMAIN}${step.value.svid?.id?.path}` };
  } catch (error) {
    const { code, details } = error as ServiceError;
    if (code === undefined) throw error;
    return { code, message: details };
  } finally {
    call.cancel();
    client.close();
  }
}
