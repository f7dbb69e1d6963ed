import type { DataStoreChange } from "#server/datastore/datastore.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { serverId } from "#spiffe/reserved-id.ts";
import { type Selector, selectorKey } from "#spiffe/selector.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";

/** An entry with the server as parent: every node whose selectors hold these goes by the alias, too. */
interface Alias {
  readonly spiffeId: string;
  readonly selectors: ReadonlySet<string>;
  /** The one of its selectors under which it is filed. */
  readonly filedUnder: string;
}

/**
 * Which entries an agent may issue for, held in memory and changed entry by entry, so that an answer costs as much as it is
 * long and a new entry is in the next one.
 *
 * An agent is authorized for the entries below its SPIFFE ID, those below each alias whose selectors it has, and, for each
 * entry reached, the entries below that one's SPIFFE ID in turn. Aliases themselves are never handed out.
 */
export class AuthorizedEntries {
  readonly #trustDomain: TrustDomain;
  readonly #server: string;
  readonly #entries: Map<string, RegistrationEntry> = new Map();
  readonly #children: Groups<RegistrationEntry> = new Groups();
  readonly #aliases: Map<string, Alias> = new Map();
  readonly #aliasesBySelector: Groups<Alias> = new Groups();
  readonly #nodes: Map<string, ReadonlySet<string>> = new Map();

  constructor(trustDomain: TrustDomain) {
    this.#trustDomain = trustDomain;
    this.#server = serverId(trustDomain).toString();
  }

  apply({ entries, nodes }: DataStoreChange): void {
    for (const id of entries.removed) this.removeEntry(id);
    for (const entry of entries.stored) this.putEntry(entry);
    for (const id of nodes.removed) this.#nodes.delete(id);
    for (const { spiffeId, selectors } of nodes.stored) this.putNode(spiffeId, selectors);
  }

  putNode(spiffeId: string, selectors: readonly Selector[]): void {
    if (selectors.length === 0) this.#nodes.delete(spiffeId);
    else this.#nodes.set(spiffeId, new Set(selectors.map(selectorKey)));
  }

  /** Entries that reach into another trust domain are authorized for nobody, as in the reference. */
  putEntry(entry: RegistrationEntry): void {
    this.removeEntry(entry.id);
    const { parentId, spiffeId } = entry;
    if (!parentId.memberOf(this.#trustDomain) || !spiffeId.memberOf(this.#trustDomain)) return;
    if (parentId.toString() === this.#server) {
      this.#putAlias(entry);
    } else {
      this.#entries.set(entry.id, entry);
      this.#children.add(parentId.toString(), entry.id, entry);
    }
  }

  removeEntry(id: string): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) this.#children.remove(entry.parentId.toString(), id);
    this.#entries.delete(id);
    const alias = this.#aliases.get(id);
    if (alias !== undefined) this.#aliasesBySelector.remove(alias.filedUnder, id);
    this.#aliases.delete(id);
  }

  /**
   * The entries of one agent, each once.
   *
   * @param agentId the agent's SPIFFE ID; one that is not known as a node has no aliases
   */
  of(agentId: string): RegistrationEntry[] {
    const found: RegistrationEntry[] = [];
    const seen = new Set<string>();
    const parents = [agentId, ...this.#aliasesOf(agentId)];
    for (let parent = parents.pop(); parent !== undefined; parent = parents.pop()) {
      if (seen.has(parent)) continue;
      seen.add(parent);
      for (const entry of this.#children.of(parent)) {
        found.push(entry);
        parents.push(entry.spiffeId.toString());
      }
    }
    return found;
  }

  /**
   * An alias asks for all its selectors, so it is enough to file it under one of them: a node that lacks this one does not
   * match. One without selectors matches no node.
   */
  #putAlias(entry: RegistrationEntry): void {
    const selectors = new Set(entry.selectors.map(selectorKey));
    const [filedUnder] = selectors;
    if (filedUnder === undefined) return;
    const alias: Alias = { spiffeId: entry.spiffeId.toString(), selectors, filedUnder };
    this.#aliases.set(entry.id, alias);
    this.#aliasesBySelector.add(filedUnder, entry.id, alias);
  }

  #aliasesOf(nodeId: string): string[] {
    const selectors = this.#nodes.get(nodeId);
    if (selectors === undefined) return [];
    const found: string[] = [];
    for (const selector of selectors) {
      for (const alias of this.#aliasesBySelector.of(selector)) {
        if (alias.selectors.isSubsetOf(selectors)) found.push(alias.spiffeId);
      }
    }
    return found;
  }
}

/** Items by key and, within a key, by ID. Empty groups are dropped, so that what is gone takes no memory. */
class Groups<Item> {
  readonly #groups: Map<string, Map<string, Item>> = new Map();

  of(key: string): Iterable<Item> {
    return this.#groups.get(key)?.values() ?? [];
  }

  add(key: string, id: string, item: Item): void {
    const group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, new Map([[id, item]]));
    else group.set(id, item);
  }

  remove(key: string, id: string): void {
    const group = this.#groups.get(key);
    group?.delete(id);
    if (group?.size === 0) this.#groups.delete(key);
  }
}
