/**
 * The registry of entries: what the API asks about entries. It answers from memory what agents ask all the time (their
 * authorized entries) and passes everything else to the store. It holds no policy on what an entry may be; the API does.
 */
import type {
  CreateEntryResult,
  DataStore,
  DataStoreChange,
  Entries,
  EntryChange,
  EntryFilter,
  Listing,
  Page,
} from "#server/datastore/datastore.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { AuthorizedEntries } from "./authorized-entries.ts";
import { type Touched, TouchedAgents } from "./touched-agents.ts";

const ALL: Page = { size: 0, token: "" };

export class EntryRegistry implements Entries {
  readonly #entries: Entries;
  readonly #authorized: AuthorizedEntries;
  readonly #listeners: Set<(change: DataStoreChange) => void> = new Set();
  readonly #touchedListeners: Set<(touched: Touched) => void> = new Set();
  /** Whom the changes of this turn touched. */
  #touched: TouchedAgents | undefined;

  private constructor(entries: Entries, authorized: AuthorizedEntries) {
    this.#entries = entries;
    this.#authorized = authorized;
  }

  /** Reads all entries and nodes, and follows every change from then on. */
  static async open(dataStore: DataStore, trustDomain: TrustDomain): Promise<EntryRegistry> {
    const authorized = new AuthorizedEntries(trustDomain);
    const registry = new EntryRegistry(dataStore.entries, authorized);
    // A change that comes while the lists are read may be older or newer than what the lists hold of it: it goes last.
    const early: DataStoreChange[] = [];
    let apply = (change: DataStoreChange): void => void early.push(change);
    dataStore.onChange((change) => apply(change));
    for (const node of (await dataStore.nodes.list({}, ALL)).items) {
      authorized.putNode(node.spiffeId, node.selectors);
    }
    for (const entry of (await dataStore.entries.list({}, ALL)).items) authorized.putEntry(entry);
    apply = (change) => registry.#apply(change);
    for (const change of early) apply(change);
    return registry;
  }

  /** The entries an agent may issue for now, in no particular order; a write that resolved is in it. */
  authorizedEntries(agentId: string): RegistrationEntry[] {
    return this.#authorized.of(agentId);
  }

  /** One entry of an agent as it is now, or undefined when the agent is not authorized for it (any more). */
  authorizedEntry(agentId: string, entryId: string): RegistrationEntry | undefined {
    return this.#authorized.authorized(agentId, entryId);
  }

  /** The SPIFFE IDs by which entries can name an agent beside its own. */
  aliasesOf(agentId: string): string[] {
    return this.#authorized.aliasesOf(agentId);
  }

  /** The agents that go by an alias; they may have been evicted. */
  agentsBehind(alias: string): string[] {
    return this.#authorized.agentsBehind(alias);
  }

  /**
   * Calls the listener after each change, when authorizedEntries already answers by it.
   *
   * @returns ends the subscription
   */
  onChange(listener: (change: DataStoreChange) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * Calls the listener with whom all changes of one turn of the event loop touched, at the end of the turn: what hundreds of
   * writes that reached the disk together have in common is then worked out once.
   *
   * @param listener must not throw
   * @returns ends the subscription
   */
  onTouched(listener: (touched: Touched) => void): () => void {
    this.#touchedListeners.add(listener);
    return () => void this.#touchedListeners.delete(listener);
  }

  create(entries: readonly RegistrationEntry[]): Promise<readonly (CreateEntryResult | Error)[]> {
    return this.#entries.create(entries);
  }

  find(id: string): Promise<RegistrationEntry | undefined> {
    return this.#entries.find(id);
  }

  list(filter: EntryFilter, page: Page): Promise<Listing<RegistrationEntry>> {
    return this.#entries.list(filter, page);
  }

  count(filter: EntryFilter): Promise<number> {
    return this.#entries.count(filter);
  }

  update(id: string, change: EntryChange): Promise<RegistrationEntry> {
    return this.#entries.update(id, change);
  }

  delete(id: string): Promise<RegistrationEntry> {
    return this.#entries.delete(id);
  }

  prune(expiredBefore: number): Promise<readonly RegistrationEntry[]> {
    return this.#entries.prune(expiredBefore);
  }

  #apply(change: DataStoreChange): void {
    if (this.#touchedListeners.size > 0) this.#touchedThisTurn().apply(change);
    else this.#authorized.apply(change);
    for (const listener of this.#listeners) listener(change);
  }

  #touchedThisTurn(): TouchedAgents {
    if (this.#touched !== undefined) return this.#touched;
    const touched = new TouchedAgents(this.#authorized);
    this.#touched = touched;
    queueMicrotask(() => {
      this.#touched = undefined;
      for (const listener of this.#touchedListeners) listener(touched);
    });
    return touched;
  }
}
