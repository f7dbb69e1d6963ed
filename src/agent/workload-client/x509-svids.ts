/** The X.509 answer of the Workload API, parsed and verified. */
import { failureText } from "#cli/rpc-error.ts";
import type { X509SVID, X509SVIDResponse } from "#proto/spiffe/workload/workload.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { Certificate } from "#x509/certificate.ts";
import { splitCertificates } from "#x509/der.ts";
import { verifyX509Svid } from "#x509/svid.ts";

/** An X509-SVID with what a workload needs beside it. */
export interface WorkloadSvid {
  readonly id: SpiffeId;
  readonly hint: string;
  /** Leaf first. */
  readonly certificates: readonly Certificate[];
  /** PKCS#8, DER. */
  readonly privateKey: Uint8Array;
  readonly bundle: readonly Certificate[];
  /** By SPIFFE ID of the trust domain, in alphabetical order. */
  readonly federatedBundles: readonly (readonly [string, readonly Certificate[]])[];
}

/**
 * Parses the answer and verifies each SVID against the bundle that came with it.
 *
 * @throws Error naming the SVID and what is wrong with it
 */
export function parseSvids(response: X509SVIDResponse, atSeconds: number): WorkloadSvid[] {
  if (response.svids.length === 0) throw new Error("workload response contains no svids");
  const federatedBundles = Object.entries(response.federatedBundles)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, ders]) => {
      const bundle = certificatesOf(ders, `failed to parse bundle for federated domain "${name}"`);
      if (bundle.length === 0) {
        throw new Error(`no certificates in bundle for federated domain "${name}"`);
      }
      return [name, bundle] as const;
    });
  const svids = response.svids.map((svid, index) => {
    const where = `failed to parse svid entry ${index} for spiffe id "${svid.spiffeId}"`;
    return { ...parseSvid(svid, where), federatedBundles };
  });
  for (const svid of svids) verify(svid, atSeconds);
  return svids;
}

function parseSvid(svid: X509SVID, where: string): Omit<WorkloadSvid, "federatedBundles"> {
  const certificates = certificatesOf(svid.x509Svid, where);
  if (certificates.length === 0) throw new Error(`${where}: no certificates found`);
  if (svid.x509SvidKey.length === 0) throw new Error(`${where}: failed to parse private key`);
  const bundle = certificatesOf(svid.bundle, `${where}: failed to parse trust bundle`);
  if (bundle.length === 0) throw new Error(`${where}: no certificates in trust bundle`);
  return {
    id: SpiffeId.parse(svid.spiffeId),
    hint: svid.hint,
    certificates,
    privateKey: svid.x509SvidKey,
    bundle,
  };
}

function certificatesOf(ders: Uint8Array, where: string): Certificate[] {
  try {
    return splitCertificates(ders).map((der) => Certificate.parse(der));
  } catch (error) {
    throw new Error(`${where}: ${failureText(error)}`, { cause: error });
  }
}

function verify(svid: WorkloadSvid, atSeconds: number): void {
  try {
    verifyX509Svid(
      svid.certificates.map(({ der }) => der),
      (trustDomain) => (trustDomain.equals(svid.id.trustDomain) ? svid.bundle : undefined),
      atSeconds,
    );
  } catch (error) {
    throw new Error(`"${svid.id}" SVID failed verification against bundle: ${failureText(error)}`, {
      cause: error,
    });
  }
}
