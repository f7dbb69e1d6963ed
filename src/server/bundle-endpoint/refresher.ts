/**
 * Federation, the side that fetches: which relationships there are, and a poller for each. Those of the configuration and those that
 * operators made through the API are one set; where both name a trust domain, the configuration wins.
 */
import type { Clock } from "#clock/clock.ts";
import type { Random } from "#clock/random.ts";
import type { TlsPolicy } from "#http/tls-policy.ts";
import type { Log } from "#log/log.ts";
import type { DataStore, DataStoreChange } from "#server/datastore/datastore.ts";
import { type PeriodicTask, periodically } from "#server/periodic.ts";
import { type FederationRelationship, sameEndpoint } from "#spiffe/federation-relationship.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import type { Metrics } from "#telemetry/metrics.ts";
import { Poller } from "./poller.ts";

/** Changes are heard of at once; this is for the time after the store could not be read. */
const RELOAD_INTERVAL_MS = 10_000;

export interface RefresherParts {
  readonly trustDomain: TrustDomain;
  /** The relationships of the configuration, as it is at this moment. */
  readonly configured: () => readonly FederationRelationship[];
  readonly store: Pick<DataStore, "bundles" | "federationRelationships" | "onChange">;
  readonly policy: TlsPolicy;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly log: Log;
}

export class BundleRefresher {
  readonly #parts: RefresherParts;
  readonly #pollers = new Map<string, Poller>();
  readonly #reload: PeriodicTask;
  readonly #endSubscription: () => void;
  #reconciled: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(parts: RefresherParts) {
    this.#parts = parts;
    this.#endSubscription = parts.store.onChange((change) => this.#apply(change));
    const name = "reload federation relationships";
    this.#reload = periodically(name, RELOAD_INTERVAL_MS, () => this.#reconcile(), parts);
    this.#reconcileSoon();
  }

  /**
   * Fetches the bundle of a trust domain now.
   *
   * @returns false when there is no relationship with it
   * @throws StatusError saying why the bundle is not to be had
   */
  async refresh(trustDomain: TrustDomain): Promise<boolean> {
    await this.#reconcile();
    const poller = this.#pollers.get(trustDomain.name);
    await poller?.refresh();
    return poller !== undefined;
  }

  /** The configuration names other relationships than before. Resolves when they are followed. */
  reconfigured(): Promise<void> {
    return this.#reconcile();
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#endSubscription();
    await this.#reload.stop();
    await this.#reconciled.catch(() => undefined);
    await Promise.all([...this.#pollers.values()].map((poller) => poller.stop()));
  }

  #apply({ bundles, federationRelationships }: DataStoreChange): void {
    if (federationRelationships.length > 0) this.#reconcileSoon();
    for (const trustDomain of bundles) {
      for (const poller of this.#pollers.values()) poller.endpointBundleStored(trustDomain);
    }
  }

  #reconcileSoon(): void {
    this.#reconcile().catch((error: unknown) => {
      this.#parts.log.error("Failed to reload configs", { error });
    });
  }

  /** One after the other: an older list must not undo what a newer one did. */
  #reconcile(): Promise<void> {
    const work = async (): Promise<void> => {
      const wanted = await this.#relationships();
      if (!this.#stopped) this.#bringInLine(wanted);
    };
    this.#reconciled = this.#reconciled.then(work, work);
    return this.#reconciled;
  }

  async #relationships(): Promise<ReadonlyMap<string, FederationRelationship>> {
    const { store, configured, trustDomain: own } = this.#parts;
    const { items } = await store.federationRelationships.list({ size: 0, token: "" });
    const all = [...items, ...configured()].map((one) => [one.trustDomain.name, one] as const);
    const wanted = new Map(all);
    // Whatever the store holds: a stranger's endpoint never writes this server's own bundle.
    wanted.delete(own.name);
    return wanted;
  }

  #bringInLine(wanted: ReadonlyMap<string, FederationRelationship>): void {
    const { log } = this.#parts;
    for (const [name, poller] of this.#pollers) {
      const relationship = wanted.get(name);
      if (relationship !== undefined && sameEndpoint(relationship, poller.relationship)) continue;
      void poller.stop();
      this.#pollers.delete(name);
      if (relationship === undefined) {
        log.info("Trust domain no longer managed", { trust_domain: name });
      } else {
        log.info("Updated configuration for managed trust domain", fieldsOf(relationship));
        this.#startPoller(relationship);
      }
    }
    for (const [name, relationship] of wanted) {
      if (this.#pollers.has(name)) continue;
      log.info("Trust domain is now managed", fieldsOf(relationship));
      this.#startPoller(relationship);
    }
  }

  #startPoller(relationship: FederationRelationship): void {
    const parts = { ...this.#parts, bundles: this.#parts.store.bundles };
    this.#pollers.set(relationship.trustDomain.name, new Poller(relationship, parts));
  }
}

function fieldsOf({ trustDomain, bundleEndpointUrl, profile }: FederationRelationship): {
  readonly [name: string]: string;
} {
  return {
    trust_domain: trustDomain.name,
    bundle_endpoint_url: bundleEndpointUrl,
    bundle_endpoint_profile: profile.kind,
  };
}
