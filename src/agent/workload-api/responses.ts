/**
 * The messages of the Workload API, made from what the cache holds (SPIFFE Workload API §5-6). A message is made once for all workloads
 * that get the same, and it is the same object for as long as nothing in it changes.
 */
import type { BundleForms } from "#agent/cache/bundle-forms.ts";
import { once, type Recipe } from "#agent/cache/recipe.ts";
import type { Identity, Subscription } from "#agent/cache/subscription.ts";
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type {
  JWTBundlesResponse,
  X509BundlesResponse,
  X509SVIDResponse,
} from "#proto/spiffe/workload/workload.ts";
import { withoutRepeatedHints } from "./hints.ts";

export interface Responses {
  /** The SVIDs that are there; undefined as long as there is none, or no bundle of our own. */
  x509Svids(subscription: Subscription): X509SVIDResponse | undefined;
  x509Bundles(subscription: Subscription): X509BundlesResponse | undefined;
  jwtBundles(subscription: Subscription): JWTBundlesResponse | undefined;
}

export function createResponses(cache: WorkloadCache): Responses {
  return {
    x509Svids: once((identities) => x509SvidRecipe(identities, cache)),
    x509Bundles: once((identities) =>
      bundlesRecipe(identities, cache, ({ x509 }) => x509, x509BundlesResponse),
    ),
    jwtBundles: once((identities) =>
      bundlesRecipe(
        identities,
        cache,
        ({ jwt }) => jwt,
        (bundles) => ({ bundles }),
      ),
    ),
  };
}

function x509SvidRecipe(
  identities: readonly Identity[],
  cache: WorkloadCache,
): Recipe<X509SVIDResponse> | undefined {
  const bundle = cache.ownBundle?.x509;
  const there = withoutRepeatedHints(
    identities.flatMap(({ entry, svid }) =>
      svid === undefined ? [] : [{ entry, svid, spiffeId: entry.spiffeId.toString() }],
    ),
  );
  if (bundle === undefined || there.length === 0) return undefined;
  const federated = federatedBundles(identities, cache, ({ x509 }) => x509);
  return {
    ingredients: [
      bundle,
      ...there.flatMap(({ entry, svid, spiffeId }) => [spiffeId, entry.hint, svid.chain]),
      ...federated.flat(),
    ],
    make: () => ({
      svids: there.map(({ entry, svid, spiffeId }) => ({
        spiffeId,
        x509Svid: Buffer.concat(svid.chain),
        x509SvidKey: svid.privateKey,
        bundle,
        hint: entry.hint,
      })),
      crl: [],
      federatedBundles: Object.fromEntries(federated),
    }),
  };
}

function bundlesRecipe<R>(
  identities: readonly Identity[],
  cache: WorkloadCache,
  form: (bundle: BundleForms) => Uint8Array,
  make: (bundles: Record<string, Uint8Array>) => R,
): Recipe<R> | undefined {
  const own = cache.ownBundle;
  if (own === undefined) return undefined;
  const all = [
    [own.bundle.trustDomain.id, form(own)] as const,
    ...federatedBundles(identities, cache, form),
  ];
  return { ingredients: all.flat(), make: () => make(Object.fromEntries(all)) };
}

function x509BundlesResponse(bundles: Record<string, Uint8Array>): X509BundlesResponse {
  return { crl: [], bundles };
}

/** The bundles that the caller's entries federate with, by `spiffe://td`. */
function federatedBundles(
  identities: readonly Identity[],
  cache: WorkloadCache,
  form: (bundle: BundleForms) => Uint8Array,
): (readonly [id: string, bytes: Uint8Array])[] {
  const names = new Set(identities.flatMap(({ entry }) => entry.federatesWith));
  return [...names].sort().flatMap((name) => {
    const bundle = cache.bundles.get(name);
    return bundle === undefined ? [] : [[bundle.bundle.trustDomain.id, form(bundle)] as const];
  });
}
