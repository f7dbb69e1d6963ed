import type { DataStoreChange } from "#server/datastore/datastore.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { type Selector, selectorKey } from "#spiffe/selector.ts";
import type { AuthorizedEntries } from "./authorized-entries.ts";

/** Whose authorized entries changed. Other IDs than those of agents are among the IDs; nobody listens to them. */
export interface Touched {
  /** By the IDs that an entry reaches: the entries that those may have got, have in another form, or have no longer. */
  readonly entries: ReadonlyMap<ReadonlySet<string>, readonly string[]>;
  /** The IDs for which a whole subtree came or went. */
  readonly everything: ReadonlySet<string>;
}

/**
 * Applies changes to the index and finds out on the way whom they touch. An entry with nothing below it is named; one with a
 * subtree below it, or an alias with one, would have to name all of it, so for whoever it reaches everything changed.
 */
export class TouchedAgents implements Touched {
  readonly #index: AuthorizedEntries;
  /**
   * By parent ID. Many entries of a batch, and of batches that follow each other, have the same parent, and there may be as
   * many agents above it as the fleet has.
   */
  readonly #known: Map<string, ReadonlySet<string>> = new Map();
  readonly entries: Map<ReadonlySet<string>, string[]> = new Map();
  readonly everything: Set<string> = new Set();

  constructor(index: AuthorizedEntries) {
    this.#index = index;
  }

  apply({ entries, nodes }: DataStoreChange): void {
    for (const id of entries.removed) this.#changeEntry(id, undefined);
    for (const entry of entries.stored) this.#changeEntry(entry.id, entry);
    for (const id of nodes.removed) this.#changeNode(id, []);
    for (const { spiffeId, selectors } of nodes.stored) this.#changeNode(spiffeId, selectors);
  }

  /** A node is stored each time its SVID is renewed; only other selectors make other aliases. */
  #changeNode(spiffeId: string, selectors: readonly Selector[]): void {
    const before = this.#index.nodeSelectors(spiffeId);
    const after = new Set(selectors.map(selectorKey));
    if (before.size === after.size && before.isSubsetOf(after)) return;
    this.#index.putNode(spiffeId, selectors);
    this.everything.add(spiffeId);
  }

  #changeEntry(id: string, entry: RegistrationEntry | undefined): void {
    const before = this.#index.find(id);
    if (before !== undefined && entry !== undefined && this.#samePlace(before, entry)) {
      this.#index.putEntry(entry);
      this.#nameEntry(this.#placeOf(entry));
      return;
    }
    const places = before === undefined ? [] : [this.#placeOf(before)];
    if (entry === undefined) this.#index.removeEntry(id);
    else this.#index.putEntry(entry);
    const after = this.#index.find(id);
    if (after !== undefined) places.push(this.#placeOf(after));
    this.#move(places);
  }

  /** The selectors of an alias are what nodes are asked for; those of other entries are for the agent to look at. */
  #samePlace(before: RegistrationEntry, after: RegistrationEntry): boolean {
    const asked = ({ selectors }: RegistrationEntry): string =>
      JSON.stringify(selectors.map(selectorKey));
    return (
      before.parentId.equals(after.parentId) &&
      before.spiffeId.equals(after.spiffeId) &&
      (!this.#index.isAlias(after) || asked(before) === asked(after))
    );
  }

  /** Where an entry is now. An alias with nothing below it makes no difference to anybody. */
  #placeOf(entry: RegistrationEntry): Place {
    const leads = this.#index.hasChildren(entry.spiffeId.toString());
    const isAlias = this.#index.isAlias(entry);
    return { entry, leads, isAlias, agents: isAlias && !leads ? NOBODY : this.#agentsOf(entry) };
  }

  #agentsOf(entry: RegistrationEntry): ReadonlySet<string> {
    if (this.#index.isAlias(entry)) return this.#index.agentsOf(entry);
    const parentId = entry.parentId.toString();
    const known = this.#known.get(parentId) ?? this.#index.agentsOf(entry);
    this.#known.set(parentId, known);
    return known;
  }

  #move(places: readonly Place[]): void {
    const isSubtree = places.some(({ leads }) => leads);
    for (const place of places) {
      // Others are above its SPIFFE ID now. What is above the IDs further down is old, too, but there everything changed.
      this.#known.delete(place.entry.spiffeId.toString());
      if (!isSubtree) this.#nameEntry(place);
      else for (const agent of place.agents) this.everything.add(agent);
    }
  }

  #nameEntry({ agents, entry, isAlias }: Place): void {
    if (isAlias) return;
    const named = this.entries.get(agents);
    if (named === undefined) this.entries.set(agents, [entry.id]);
    else named.push(entry.id);
  }
}

interface Place {
  readonly entry: RegistrationEntry;
  readonly isAlias: boolean;
  /** Whether entries are below it. */
  readonly leads: boolean;
  readonly agents: ReadonlySet<string>;
}

const NOBODY: ReadonlySet<string> = new Set();
