import type { BundleForms } from "#agent/cache/bundle-forms.ts";
import { once } from "#agent/cache/recipe.ts";
import type { Subscription } from "#agent/cache/subscription.ts";
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import type { WorkloadX509Svid } from "#agent/cache/x509-svids.ts";

/** What a workload's secrets are made of. */
export interface WorkloadState {
  /** Our own; undefined as long as it is not known. */
  readonly bundle: BundleForms | undefined;
  /** Those that the workload's entries federate with, by trust domain name, sorted. */
  readonly federatedBundles: readonly BundleForms[];
  /** Those whose X509-SVIDs are there, the workload's default first. */
  readonly identities: readonly ReadyIdentity[];
}

export interface ReadyIdentity {
  readonly entry: WorkloadEntry;
  readonly spiffeId: string;
  readonly svid: WorkloadX509Svid;
}

/** Gives a workload's state, the same object for as long as nothing in it changes. */
export function workloadStates(
  cache: WorkloadCache,
): (workload: Subscription) => WorkloadState | undefined {
  return once((all) => {
    const identities = all.flatMap(({ entry, svid }) =>
      svid === undefined ? [] : [{ entry, svid, spiffeId: entry.spiffeId.toString() }],
    );
    const names = new Set(identities.flatMap(({ entry }) => entry.federatesWith));
    const federatedBundles = [...names].sort().flatMap((name) => cache.bundles.get(name) ?? []);
    const bundle = cache.ownBundle;
    return {
      ingredients: [
        ...identities.flatMap(({ spiffeId, svid }) => [spiffeId, svid.chain]),
        ...[bundle, ...federatedBundles].map((forms) => forms?.x509),
      ],
      make: () => ({ bundle, federatedBundles, identities }),
    };
  });
}
