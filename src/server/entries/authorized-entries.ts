import type { DataStoreChange } from "#server/datastore/datastore.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { serverId } from "#spiffe/reserved-id.ts";
import { type Selector, selectorKey } from "#spiffe/selector.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { Groups } from "./groups.ts";

/** An entry with the server as parent: every node whose selectors hold these goes by the alias, too. */
interface Alias {
  readonly spiffeId: string;
  readonly selectors: ReadonlySet<string>;
  /** The one of its selectors under which it is filed. */
  readonly filedUnder: string;
}

interface Node {
  readonly spiffeId: string;
  readonly selectors: ReadonlySet<string>;
}

/**
 * Which entries an agent may issue for, held in memory and changed entry by entry, so that an answer costs as much as it is
 * long and a new entry is in the next one. It also answers the other way round: which agents an entry reaches.
 *
 * An agent is authorized for the entries below its SPIFFE ID, those below each alias whose selectors it has, and, for each
 * entry reached, the entries below that one's SPIFFE ID in turn. Aliases themselves are never handed out.
 */
export class AuthorizedEntries {
  readonly #trustDomain: TrustDomain;
  readonly #server: string;
  /** All of them, aliases too. */
  readonly #entries: Map<string, RegistrationEntry> = new Map();
  readonly #children: Groups<RegistrationEntry> = new Groups();
  readonly #bySpiffeId: Groups<RegistrationEntry> = new Groups();
  readonly #aliases: Map<string, Alias> = new Map();
  readonly #aliasesBySelector: Groups<Alias> = new Groups();
  readonly #nodes: Map<string, Node> = new Map();
  readonly #nodesBySelector: Groups<Node> = new Groups();

  constructor(trustDomain: TrustDomain) {
    this.#trustDomain = trustDomain;
    this.#server = serverId(trustDomain).toString();
  }

  apply({ entries, nodes }: DataStoreChange): void {
    for (const id of entries.removed) this.removeEntry(id);
    for (const entry of entries.stored) this.putEntry(entry);
    for (const id of nodes.removed) this.removeNode(id);
    for (const { spiffeId, selectors } of nodes.stored) this.putNode(spiffeId, selectors);
  }

  /** The selectors are what counts; of a node without any, nothing is kept. */
  putNode(spiffeId: string, selectors: readonly Selector[]): void {
    this.removeNode(spiffeId);
    if (selectors.length === 0) return;
    const node: Node = { spiffeId, selectors: new Set(selectors.map(selectorKey)) };
    this.#nodes.set(spiffeId, node);
    for (const selector of node.selectors) this.#nodesBySelector.add(selector, spiffeId, node);
  }

  removeNode(spiffeId: string): void {
    const selectors = this.nodeSelectors(spiffeId);
    for (const selector of selectors) this.#nodesBySelector.remove(selector, spiffeId);
    this.#nodes.delete(spiffeId);
  }

  /** As keys; empty for a node that is not known. */
  nodeSelectors(spiffeId: string): ReadonlySet<string> {
    return this.#nodes.get(spiffeId)?.selectors ?? new Set();
  }

  /** Entries that reach into another trust domain are authorized for nobody, as in the reference. */
  putEntry(entry: RegistrationEntry): void {
    this.removeEntry(entry.id);
    const { id, parentId, spiffeId } = entry;
    if (!parentId.memberOf(this.#trustDomain) || !spiffeId.memberOf(this.#trustDomain)) return;
    this.#entries.set(id, entry);
    this.#bySpiffeId.add(spiffeId.toString(), id, entry);
    if (this.isAlias(entry)) this.#putAlias(entry);
    else this.#children.add(parentId.toString(), id, entry);
  }

  removeEntry(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    this.#bySpiffeId.remove(entry.spiffeId.toString(), id);
    this.#children.remove(entry.parentId.toString(), id);
    const alias = this.#aliases.get(id);
    if (alias !== undefined) this.#aliasesBySelector.remove(alias.filedUnder, id);
    this.#aliases.delete(id);
  }

  /** An entry or alias by its ID; undefined also for one that is authorized for nobody because of its trust domain. */
  find(id: string): RegistrationEntry | undefined {
    return this.#entries.get(id);
  }

  isAlias({ parentId }: RegistrationEntry): boolean {
    return parentId.toString() === this.#server;
  }

  /** Whether anything is below this SPIFFE ID. */
  hasChildren(spiffeId: string): boolean {
    return this.#children.size(spiffeId) > 0;
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
        const spiffeId = entry.spiffeId.toString();
        if (this.hasChildren(spiffeId)) parents.push(spiffeId);
      }
    }
    return found;
  }

  /** One entry of one agent; undefined when the agent is not authorized for it. It costs as much as the entry has ancestors. */
  authorized(agentId: string, entryId: string): RegistrationEntry | undefined {
    const entry = this.#entries.get(entryId);
    if (entry === undefined || this.isAlias(entry)) return undefined;
    const selectors = this.nodeSelectors(agentId);
    for (const above of this.#above(entry.parentId.toString())) {
      const reached =
        typeof above === "string" ? above === agentId : above.selectors.isSubsetOf(selectors);
      if (reached) return entry;
    }
    return undefined;
  }

  /**
   * The agents that are authorized for an entry; for an alias, those that go by it. The SPIFFE IDs of entries on the way are
   * in the answer, too. It costs as much as it is long.
   */
  agentsOf(entry: RegistrationEntry): ReadonlySet<string> {
    const ids = new Set<string>();
    const addNodes = (alias: Alias): void => {
      for (const node of this.#nodesOf(alias)) ids.add(node.spiffeId);
    };
    if (this.isAlias(entry)) {
      const alias = this.#aliases.get(entry.id);
      if (alias !== undefined) addNodes(alias);
      return ids;
    }
    for (const above of this.#above(entry.parentId.toString())) {
      if (typeof above === "string") ids.add(above);
      else addNodes(above);
    }
    return ids;
  }

  /** The SPIFFE IDs by which entries can name a node beside its own: aliases by selectors, and those that came with its join token. */
  aliasesOf(nodeId: string): string[] {
    const own = [...this.#children.of(nodeId)].filter((entry) => isTokenAlias(entry));
    return [
      ...new Set([...own.map(({ spiffeId }) => spiffeId.toString()), ...this.#aliasesOf(nodeId)]),
    ];
  }

  /** The agents that go by an alias, whichever kind it is. */
  agentsBehind(alias: string): string[] {
    const found = new Set<string>();
    for (const entry of this.#bySpiffeId.of(alias)) {
      if (this.isAlias(entry)) for (const id of this.agentsOf(entry)) found.add(id);
      else if (isTokenAlias(entry)) found.add(entry.parentId.toString());
    }
    return [...found];
  }

  /** The ID itself and the IDs from which entries lead to it, each once, and the aliases among them. */
  *#above(parentId: string): Generator<string | Alias> {
    const seen = new Set<string>();
    const waiting = [parentId];
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
      if (seen.has(id)) continue;
      seen.add(id);
      yield id;
      for (const entry of this.#bySpiffeId.of(id)) {
        const alias = this.#aliases.get(entry.id);
        if (alias !== undefined) yield alias;
        else if (!this.isAlias(entry)) waiting.push(entry.parentId.toString());
      }
    }
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
    const selectors = this.nodeSelectors(nodeId);
    const found: string[] = [];
    for (const selector of selectors) {
      for (const alias of this.#aliasesBySelector.of(selector)) {
        if (alias.selectors.isSubsetOf(selectors)) found.push(alias.spiffeId);
      }
    }
    return found;
  }

  /** Looks through the nodes that have the rarest of the alias's selectors. */
  #nodesOf({ selectors, filedUnder }: Alias): Node[] {
    let rarest = filedUnder;
    for (const selector of selectors) {
      if (this.#nodesBySelector.size(selector) < this.#nodesBySelector.size(rarest)) {
        rarest = selector;
      }
    }
    return [...this.#nodesBySelector.of(rarest)].filter((node) =>
      selectors.isSubsetOf(node.selectors),
    );
  }
}

/** The entry that is made with a join token: a child of the agent, with the agent itself as its selector. */
function isTokenAlias({ parentId, selectors: [selector, ...more] }: RegistrationEntry): boolean {
  return (
    selector?.type === "spiffe_id" && more.length === 0 && selector.value === parentId.toString()
  );
}
