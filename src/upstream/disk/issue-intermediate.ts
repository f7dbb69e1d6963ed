import type { Random } from "#clock/random.ts";
import { errorText } from "#spiffe/status-error.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";
import { verifyChain } from "#x509/chain.ts";
import { type Csr, parseCsr } from "#x509/csr.ts";
import {
  authorityKeyIdExtension,
  basicConstraintsExtension,
  KeyUsage,
  keyUsageExtension,
  subjectAltNameExtension,
  subjectKeyIdExtension,
} from "#x509/extensions.ts";
import { issueCertificate, subjectKeyIdOf } from "#x509/issue.ts";
import { encodeName } from "#x509/name.ts";
import type { Authority } from "./authority.ts";

/** A host whose clock is a little behind must be able to use the certificate at once. */
const BACKDATE_SECONDS = 10;
const DEFAULT_TTL_SECONDS = 3600;
const SERIAL_BYTES = 16;

export interface IntermediateRequest {
  readonly authority: Authority;
  readonly trustDomain: TrustDomain;
  /** PKCS#10, DER. */
  readonly csr: Uint8Array;
  /** 0 for an hour. */
  readonly preferredTtlSeconds: number;
  /** Unix seconds. */
  readonly atSeconds: number;
}

/**
 * Signs the server's CA certificate: the subject of the request, the trust domain's ID, and a life within that of every
 * certificate above it.
 *
 * @returns DER
 * @throws Error saying what is wrong with the request, or why the certificate would not verify
 */
export async function issueIntermediate(
  request: IntermediateRequest,
  random: Random,
): Promise<Uint8Array> {
  const { authority, trustDomain, atSeconds } = request;
  const csr = await checkedCsr(request.csr, trustDomain);
  const { subjectKeyId } = authority.certificate.extensions;
  const der = await issueCertificate(
    {
      serialNumber: serialNumber(random),
      issuerDer: authority.certificate.subjectDer,
      subjectDer: csr.subjectDer,
      notBefore: atSeconds - BACKDATE_SECONDS,
      notAfter: Math.min(
        atSeconds + (request.preferredTtlSeconds || DEFAULT_TTL_SECONDS),
        authority.notAfter,
      ),
      publicKeySpki: csr.publicKeySpki,
      extensions: [
        keyUsageExtension(KeyUsage.keyCertSign + KeyUsage.cRLSign),
        basicConstraintsExtension(true),
        subjectKeyIdExtension(subjectKeyIdOf(csr.publicKeySpki)),
        authorityKeyIdExtension(subjectKeyId ?? subjectKeyIdOf(authority.signer.publicKeySpki)),
        subjectAltNameExtension(trustDomain.id, [], false),
      ],
    },
    authority.signer,
  );
  // What the authorities above allow, name constraints among it, shows here rather than at the first workload.
  verifyChain({
    leaf: Certificate.parse(der),
    intermediates: authority.chain,
    roots: authority.roots,
    atSeconds,
    usage: "any",
  });
  return der;
}

async function checkedCsr(bytes: Uint8Array, trustDomain: TrustDomain): Promise<Csr> {
  const csr = parsedCsr(bytes);
  if (!(await csr.verifySignature())) throw new Error("CSR signature check failed");
  // RFC 5280 §4.1.2.6: what a CA signs names it by its subject.
  if (isEmptyName(csr.subjectDer)) throw new Error("CSR must have a subject");
  const [uri, ...more] = csr.uriSans;
  if (uri === undefined || more.length > 0) throw new Error("CSR must have exactly one URI SAN");
  // The server's own ID, and so that of its CA, has no path (SPIFFE-ID §3.1).
  if (uri !== trustDomain.id) {
    throw new Error(
      `CSR with SPIFFE ID ${JSON.stringify(uri)} is invalid: must use the trust domain ID for trust domain "${trustDomain}"`,
    );
  }
  return csr;
}

function parsedCsr(bytes: Uint8Array): Csr {
  try {
    return parseCsr(bytes);
  } catch (error) {
    throw new Error(`unable to parse CSR: ${errorText(error)}`);
  }
}

/** RFC 5280 §4.1.2.2: positive, so never all zeros. */
function serialNumber(random: Random): Uint8Array {
  const serial = Uint8Array.from(random.bytes(SERIAL_BYTES));
  if (serial.every((octet) => octet === 0)) serial[SERIAL_BYTES - 1] = 1;
  return serial;
}

function isEmptyName(nameDer: Uint8Array): boolean {
  return Buffer.compare(nameDer, encodeName({})) === 0;
}
