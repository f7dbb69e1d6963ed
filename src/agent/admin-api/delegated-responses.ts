/** The messages of the Delegated Identity API, made from what the cache holds. */
import type { BundleForms } from "#agent/cache/bundle-forms.ts";
import { once, type Recipe } from "#agent/cache/recipe.ts";
import type { Identity, Subscription } from "#agent/cache/subscription.ts";
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type {
  SubscribeToJWTBundlesResponse,
  SubscribeToX509BundlesResponse,
  SubscribeToX509SVIDsResponse,
} from "#proto/spire/api/agent/delegatedidentity/v1/delegatedidentity.ts";
import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";

export interface DelegatedResponses {
  /** The SVIDs that are there and may be handed to a delegate. */
  x509Svids(workload: Subscription): SubscribeToX509SVIDsResponse | undefined;
  /** All bundles that the agent knows. */
  x509Bundles(delegate: Subscription): SubscribeToX509BundlesResponse | undefined;
  jwtBundles(delegate: Subscription): SubscribeToJWTBundlesResponse | undefined;
}

export function createDelegatedResponses(cache: WorkloadCache): DelegatedResponses {
  return {
    x509Svids: once((identities) => x509SvidRecipe(identities, cache)),
    x509Bundles: once(() =>
      bundlesRecipe(
        cache,
        ({ x509 }) => x509,
        (caCertificates) => ({ caCertificates }),
      ),
    ),
    jwtBundles: once(() =>
      bundlesRecipe(
        cache,
        ({ jwt }) => jwt,
        (bundles) => ({ bundles }),
      ),
    ),
  };
}

export function idMessage({ trustDomain, path }: SpiffeId): SPIFFEID {
  return { trustDomain: trustDomain.name, path };
}

function x509SvidRecipe(
  identities: readonly Identity[],
  cache: WorkloadCache,
): Recipe<SubscribeToX509SVIDsResponse> {
  const there = identities.flatMap(({ entry, svid }) =>
    svid === undefined ? [] : [{ entry, svid, id: entry.spiffeId.toString() }],
  );
  const names = new Set(there.flatMap(({ entry }) => entry.federatesWith));
  const federatesWith = [...names].flatMap((name) => {
    const bundle = cache.bundles.get(name);
    return bundle === undefined ? [] : [bundle.bundle.trustDomain.id];
  });
  const sent = there.filter(({ entry }) => entry.delegable);
  return {
    ingredients: [
      ...sent.flatMap(({ entry, svid, id }) => [id, entry.hint, svid.chain]),
      ...federatesWith.sort(),
    ],
    make: () => ({
      x509Svids: sent.map(({ entry, svid }) => ({
        x509Svid: {
          id: idMessage(entry.spiffeId),
          certChain: [...svid.chain],
          expiresAt: svid.notAfter,
          hint: entry.hint,
        },
        x509SvidKey: svid.privateKey,
      })),
      federatesWith,
    }),
  };
}

function bundlesRecipe<R>(
  cache: WorkloadCache,
  form: (bundle: BundleForms) => Uint8Array,
  make: (bundles: Record<string, Uint8Array>) => R,
): Recipe<R> {
  const all = [...cache.bundles.values()].map(
    (forms) => [forms.bundle.trustDomain.id, form(forms)] as const,
  );
  return { ingredients: all.flat(), make: () => make(Object.fromEntries(all)) };
}
