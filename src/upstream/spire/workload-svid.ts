import type { ClientIdentity } from "#grpc/server-channel.ts";
import type { X509SVIDResponse } from "#proto/spiffe/workload/workload.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { Certificate } from "#x509/certificate.ts";
import { splitCertificates } from "#x509/der.ts";
import { encodePem } from "#x509/pem.ts";
import { verifyX509Svid } from "#x509/svid.ts";

/** Who this server is to the one above it, and by what it knows that one. */
export interface WorkloadSvid extends ClientIdentity {
  readonly id: SpiffeId;
  /** The X.509 authorities of the trust domain, DER. */
  readonly roots: readonly Uint8Array[];
}

/**
 * Reads an answer of the Workload API. Where it gives several SVIDs, the first one is the default (SPIFFE Workload API §5.3).
 *
 * @param atSeconds Unix seconds
 * @throws Error saying why there is nothing to be used in it; never with key material
 */
export function workloadSvidFrom(
  response: X509SVIDResponse,
  trustDomain: TrustDomain,
  atSeconds: number,
): WorkloadSvid {
  const [svid] = response.svids;
  if (svid === undefined) throw new Error("the Workload API gave no X509-SVID");
  const chain = splitCertificates(svid.x509Svid);
  const roots = splitCertificates(svid.bundle);
  const authorities = roots.map((der) => Certificate.parse(der));
  const { id } = verifyX509Svid(chain, () => authorities, atSeconds);
  if (!id.memberOf(trustDomain)) {
    throw new Error(
      `the Workload API gave "${id}", which is not in the trust domain "${trustDomain}" of this server`,
    );
  }
  if (svid.x509SvidKey.length === 0) throw new Error("the Workload API gave no private key");
  return { id, chain, roots, privateKeyPem: encodePem("PRIVATE KEY", svid.x509SvidKey) };
}
