/** The SVIDs of units: what the Workload API would give a process of which nothing but its unit is known. */
import type { Identity } from "#agent/cache/subscription.ts";
import type { WorkloadCache } from "#agent/cache/workload-cache.ts";
import { withoutRepeatedHints } from "#agent/workload-api/hints.ts";
import { unitSelectors } from "#attestors/systemd/workload.ts";
import type { Clock } from "#clock/clock.ts";
import type { SystemdUnit } from "#dbus/systemd.ts";
import { selectorKey } from "#spiffe/selector.ts";
import type { Pair } from "./credential.ts";

/** A unit asks for its credentials one after the other; in that time an SVID may be replaced, and they must fit together. */
const KEPT_MS = 60_000;

export class UnitSvids {
  readonly #cache: WorkloadCache;
  readonly #clock: Clock;
  /** By invocation and hint. */
  readonly #kept: Map<string, Pair> = new Map();

  constructor(cache: WorkloadCache, clock: Clock) {
    this.#cache = cache;
    this.#clock = clock;
  }

  /**
   * The SVID of a unit, the same one for all that one start of it asks for; waits until there is one.
   *
   * @param waiting told when there is nothing yet, and whether that is because nobody registered these selectors
   * @returns undefined when the signal aborts or the agent stops
   */
  async of(
    unit: SystemdUnit,
    hint: string | undefined,
    waiting: (selectors: ReadonlySet<string>, isNobody: boolean) => void,
    signal: AbortSignal,
  ): Promise<Pair | undefined> {
    const key = JSON.stringify([unit.id, unit.invocationId, hint]);
    const kept = this.#kept.get(key);
    if (kept !== undefined) return kept;
    const selectors = new Set(unitSelectors(unit).map(selectorKey));
    using subscription = this.#cache.subscribe(selectors, "x509-svids");
    let told = false;
    while (!signal.aborted && !this.#cache.isClosed) {
      // Taken before the cache is read, so that a change in between is not missed.
      const { version } = subscription;
      const identities = subscription.identities();
      const pair = this.#choose(identities, hint);
      if (pair !== undefined) return this.#keep(key, pair);
      if (!told) waiting(selectors, identities.length === 0 && this.#cache.isFilled);
      told = true;
      await subscription.changedSince(version, signal);
    }
    return undefined;
  }

  #choose(identities: readonly Identity[], hint: string | undefined): Pair | undefined {
    const bundle = this.#cache.ownBundle?.bundle;
    const chosen = withoutRepeatedHints(identities).find(
      ({ entry }) => hint === undefined || entry.hint === hint,
    );
    if (chosen?.svid === undefined || bundle === undefined) return undefined;
    const authorities = bundle.x509Authorities.map(({ certificate }) => certificate);
    return { entry: chosen.entry, svid: chosen.svid, authorities };
  }

  /** Whoever was first decides, where two asked at once. */
  #keep(key: string, pair: Pair): Pair {
    const first = this.#kept.get(key);
    if (first !== undefined) return first;
    this.#kept.set(key, pair);
    this.#clock.after(KEPT_MS, () => this.#kept.delete(key));
    return pair;
  }
}
