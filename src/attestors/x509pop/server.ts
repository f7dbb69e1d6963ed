/**
 * The server half of x509pop: a certificate that an authority of the operator's choice has signed, and a proof that the node holds its
 * key. Whatever can be refused by looking is refused before anything is verified, and a challenge is drawn only for a certificate
 * that is trusted.
 */
import type { NodeAttestation, NodeAttestorServer, NodePeer } from "#attestors/attestor.ts";
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { Log } from "#log/log.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { errorText, StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";
import { verifyAllChains } from "#x509/chain.ts";
import { KeyUsage } from "#x509/extensions.ts";
import { publicKeyProblem } from "#x509/signature.ts";
import { twinCertificates } from "#x509/twin.ts";
import { nodeSelectors, sanSelectorsOf, sha1Fingerprint, templateData } from "./attributes.ts";
import { canonicalIp, ipText } from "./ip-address.ts";
import {
  ATTESTATION_TYPE,
  type Challenge,
  decodeCertificates,
  decodeResponse,
  encodeChallenge,
  newNonce,
} from "./payload.ts";
import { proofAlgorithm, verifyResponse } from "./proof.ts";
import type { X509popServerConfig } from "./server-config.ts";

export interface X509popServerParts {
  readonly config: X509popServerConfig;
  readonly trustDomain: TrustDomain;
  /** The authorities that may sign nodes' certificates, as they are now. */
  readonly roots: () => Promise<readonly Certificate[]>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

type SendChallenge = (bytes: Uint8Array) => Promise<Uint8Array>;

export function createX509popServer(parts: X509popServerParts): NodeAttestorServer {
  return {
    type: ATTESTATION_TYPE,
    attest: async (payload, challenge, peer): Promise<NodeAttestation> => {
      const presented = readPayload(payload, parts.config);
      const [leaf] = presented;
      const chains = await trustedChains(parts, presented);
      if (parts.config.verifyClientIp) checkClientIp(leaf, peer);
      await proveKey(parts, leaf, challenge);
      return describeNode(parts, leaf, chains);
    },
  };
}

function refusal(message: string): StatusError {
  return new StatusError(StatusCode.PERMISSION_DENIED, message);
}

function malformed(message: string): StatusError {
  return new StatusError(StatusCode.INVALID_ARGUMENT, message);
}

type Presented = readonly [Certificate, ...Certificate[]];

function readPayload(payload: Uint8Array, config: X509popServerConfig): Presented {
  const [first, ...rest] = decoded("failed to unmarshal data", () => decodeCertificates(payload));
  if (first === undefined) throw malformed("no certificate to attest");
  if (rest.length > config.maxIntermediates) {
    throw malformed("too many intermediate certificates");
  }
  const limit = config.maxRsaKeyBits;
  return [
    readCertificate(first, "leaf certificate", limit),
    ...rest.map((der, at) => readCertificate(der, `intermediate certificate ${at}`, limit)),
  ];
}

function readCertificate(der: Uint8Array, what: string, maxRsaKeyBits: number): Certificate {
  return decoded(`unable to parse ${what}`, () => {
    const certificate = Certificate.parse(der);
    const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey;
    if (asymmetricKeyType === "rsa" && (asymmetricKeyDetails?.modulusLength ?? 0) > maxRsaKeyBits) {
      throw malformed(`${what} key size too large`);
    }
    return certificate;
  });
}

function decoded<T>(words: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof StatusError ? error : malformed(`${words}: ${errorText(error)}`);
  }
}

/** RFC 5280 §6, for any extended key usage: the authority was named for this very purpose. */
async function trustedChains(
  { roots: currentRoots, clock }: X509popServerParts,
  [leaf, ...intermediates]: Presented,
): Promise<Certificate[][]> {
  const roots = await currentRoots();
  const atSeconds = clock.nowSeconds();
  try {
    const problem = publicKeyProblem(leaf.publicKey);
    if (problem !== undefined) throw new Error(problem);
    return verifyAllChains({ leaf, intermediates, roots, atSeconds, usage: "any" });
  } catch (error) {
    throw refusal(`certificate verification failed: ${errorText(error)}`);
  }
}

/** Behind a load balancer the peer is not the node: off unless the operator asks for it. */
function checkClientIp(leaf: Certificate, { ipAddress }: NodePeer): void {
  const address = ipAddress === undefined ? undefined : canonicalIp(ipAddress);
  if (address === undefined) {
    throw new StatusError(StatusCode.INTERNAL, "client IP not available for verification");
  }
  if (leaf.ipSans.some((bytes) => ipText(bytes) === address)) return;
  throw refusal(`client IP ${address} does not match any certificate IP SAN`);
}

async function proveKey(
  { random }: X509popServerParts,
  leaf: Certificate,
  send: SendChallenge,
): Promise<void> {
  const challenge: Challenge = { algorithm: algorithmFor(leaf), nonce: newNonce(random) };
  const answer = await send(encodeChallenge(challenge));
  const response = decoded("unable to unmarshal challenge response", () =>
    decodeResponse(answer, challenge.algorithm),
  );
  if (await verifyResponse(leaf.publicKey, challenge, response)) return;
  const name = challenge.algorithm.toUpperCase();
  throw refusal(`challenge response verification failed: ${name} signature verify failed`);
}

function algorithmFor(leaf: Certificate): Challenge["algorithm"] {
  try {
    // RFC 5280 §4.2.1.3: without the extension a key may be for anything; the reference wants it said.
    if (((leaf.extensions.keyUsage ?? 0) & KeyUsage.digitalSignature) === 0) {
      throw new Error("certificate not intended for digital signature use");
    }
    return proofAlgorithm(leaf.publicKey);
  } catch (error) {
    throw new StatusError(StatusCode.INTERNAL, `unable to generate challenge: ${errorText(error)}`);
  }
}

function describeNode(
  { config, trustDomain, log }: X509popServerParts,
  leaf: Certificate,
  chains: readonly (readonly Certificate[])[],
): NodeAttestation {
  const svidPath = config.mode === "spiffe" ? trimmedSvidPath(leaf, config, trustDomain) : "";
  const { selectors: sanSelectors, malformed: unread } = sanSelectorsOf(leaf, trustDomain);
  for (const uri of unread) log.warn("Cannot extract x509pop SAN selectors", { uri });
  const facts = { trustDomain, leaf, svidPath, sanSelectors };
  try {
    const [agentId = "", ...otherIds] = formsOf(leaf).map((der) => {
      const data = templateData(facts, sha1Fingerprint(der));
      return agentIdAt(trustDomain, config.agentPathTemplate.execute(data));
    });
    return {
      agentId,
      otherIds: [...new Set(otherIds)].filter((id) => id !== agentId),
      selectors: nodeSelectors(facts, chains),
      canReattest: true,
    };
  } catch (error) {
    throw new StatusError(StatusCode.INTERNAL, `failed to make spiffe id: ${errorText(error)}`);
  }
}

/** The certificate as it was shown, then those that are as good: a node is not another for having changed a signature's sign. */
function formsOf({ der }: Certificate): readonly Uint8Array[] {
  return [der, ...twinCertificates(der)];
}

function agentIdAt(trustDomain: TrustDomain, path: string): string {
  if (!path.startsWith("/")) {
    throw new Error(`invalid agent path suffix ${JSON.stringify(path)}: no leading slash`);
  }
  return SpiffeId.of(trustDomain, `/spire/agent${path}`).toString();
}

/**
 * The part of the node's SVID path behind the prefix.
 *
 * @throws StatusError PERMISSION_DENIED also for an SVID of another trust domain: two trust domains may have a root in common
 */
function trimmedSvidPath(
  leaf: Certificate,
  { svidPrefix }: X509popServerConfig,
  trustDomain: TrustDomain,
): string {
  const uri = leaf.uriSans.find((san) => san.toLowerCase().startsWith("spiffe:"));
  const id = uri === undefined ? undefined : parsedId(uri);
  if (id === undefined) throw refusal("valid SVID x509 cert not found");
  if (!id.memberOf(trustDomain)) throw refusal(`x509 cert is not of trust domain ${trustDomain}`);
  if (!id.path.startsWith(svidPrefix)) throw refusal("x509 cert doesnt match SVID prefix");
  return id.path.slice(svidPrefix.length);
}

function parsedId(uri: string): SpiffeId | undefined {
  try {
    return SpiffeId.parse(uri);
  } catch {
    return undefined;
  }
}
