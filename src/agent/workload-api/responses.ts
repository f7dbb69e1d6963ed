/** The messages of the Workload API, made from what the cache holds (SPIFFE Workload API §5-6). */
import type { Identity, WorkloadCache } from "#agent/sync/workload-cache.ts";
import type {
  JWTBundlesResponse,
  X509BundlesResponse,
  X509SVIDResponse,
} from "#grpc/gen/spiffe/workload/workload.ts";
import { formatJwtKeySet } from "#jwt/bundle-document.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";

/** Undefined as long as one of the SVIDs, or our own bundle, is still on its way. */
export function x509SvidResponse(
  identities: readonly Identity[],
  cache: WorkloadCache,
  trustDomain: TrustDomain,
): X509SVIDResponse | undefined {
  const own = cache.bundles.get(trustDomain.name);
  if (own === undefined) return undefined;
  const bundle = concatenated(own);
  const svids: X509SVIDResponse["svids"] = [];
  for (const { entry, svid } of identities) {
    if (svid === undefined) return undefined;
    svids.push({
      spiffeId: entry.spiffeId.toString(),
      x509Svid: Buffer.concat(svid.chain),
      x509SvidKey: svid.privateKey,
      bundle,
      hint: entry.hint,
    });
  }
  return { svids, crl: [], federatedBundles: federated(identities, cache, concatenated) };
}

export function x509BundlesResponse(
  identities: readonly Identity[],
  cache: WorkloadCache,
  trustDomain: TrustDomain,
): X509BundlesResponse | undefined {
  const own = cache.bundles.get(trustDomain.name);
  if (own === undefined) return undefined;
  const bundles = {
    [own.trustDomain.id]: concatenated(own),
    ...federated(identities, cache, concatenated),
  };
  return { crl: [], bundles };
}

export function jwtBundlesResponse(
  identities: readonly Identity[],
  cache: WorkloadCache,
  trustDomain: TrustDomain,
): JWTBundlesResponse | undefined {
  const own = cache.bundles.get(trustDomain.name);
  if (own === undefined) return undefined;
  const keySet = (bundle: Bundle): Uint8Array => new TextEncoder().encode(formatJwtKeySet(bundle));
  return {
    bundles: { [own.trustDomain.id]: keySet(own), ...federated(identities, cache, keySet) },
  };
}

/** The bundles that the caller's entries federate with, by `spiffe://td`. */
function federated(
  identities: readonly Identity[],
  cache: WorkloadCache,
  encode: (bundle: Bundle) => Uint8Array,
): Record<string, Uint8Array> {
  const names = new Set(identities.flatMap(({ entry }) => entry.federatesWith));
  const found: Record<string, Uint8Array> = {};
  for (const name of [...names].sort()) {
    const bundle = cache.bundles.get(name);
    if (bundle !== undefined) found[bundle.trustDomain.id] = encode(bundle);
  }
  return found;
}

function concatenated(bundle: Bundle): Uint8Array {
  return Buffer.concat(bundle.x509Authorities.map(({ certificate }) => certificate));
}
