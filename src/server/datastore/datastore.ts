/**
 * DataStore: what the server must not forget, cut by noun. Every write that resolved has reached the disk, and every read
 * that starts afterwards sees it. Adapters throw StatusError with the code and message the API answers (NOT_FOUND,
 * ALREADY_EXISTS, …); they hold no policy.
 */
import type { Bundle } from "#spiffe/bundle.ts";
import type { FederationRelationship } from "#spiffe/federation-relationship.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import type { MatchBehavior, Selector } from "#spiffe/selector.ts";

export interface DataStore {
  readonly joinTokens: JoinTokens;
  readonly nodes: Nodes;
  readonly entries: Entries;
  readonly declaredEntries: DeclaredEntries;
  readonly bundles: Bundles;
  readonly federationRelationships: FederationRelationships;
  readonly caJournals: CaJournals;
  /**
   * Calls the listener with every committed change, in the order of the commits and before the write resolves. Whatever is
   * kept in memory is kept current by this, no matter who wrote.
   *
   * @returns ends the subscription
   */
  onChange(listener: (change: DataStoreChange) => void): () => void;
  /** Checkpoints and releases everything. Calls after it fail. */
  close(): Promise<void>;
}

/** What one write changed. */
export interface DataStoreChange {
  readonly entries: Changed<RegistrationEntry>;
  readonly nodes: Changed<AttestedNode>;
  /** Names of the trust domains whose bundle was stored or removed. */
  readonly bundles: readonly string[];
  /** Names of the trust domains whose federation relationship was stored or removed. */
  readonly federationRelationships: readonly string[];
}

export interface Changed<Item> {
  /** Created or replaced: the records as they are now. */
  readonly stored: readonly Item[];
  /** Entry IDs, or SPIFFE IDs of nodes. */
  readonly removed: readonly string[];
}

/** One page of a listing. */
export interface Page {
  /** At most that many records; 0 means all. */
  readonly size: number;
  /** Where the last page ended; empty for the first. */
  readonly token: string;
}

export interface Listing<Item> {
  readonly items: readonly Item[];
  /** Empty when there is nothing further, or when all was asked for. */
  readonly nextToken: string;
}

export interface JoinToken {
  readonly token: string;
  /** Unix seconds. */
  readonly expiresAt: number;
  /** The SPIFFE ID of the node that it lets in again; undefined lets in a new one. */
  readonly rejoins?: string;
}

/** A node's wish to be let in by a join token. */
export interface JoinTokenClaim {
  readonly token: string;
  /** Of the key (SubjectPublicKeyInfo) that the node is to be known by. */
  readonly publicKeySha256: Uint8Array;
  /** The moment of the claim, Unix seconds. */
  readonly now: number;
  /** A token that the same key used at this moment (Unix seconds) or later is still good for that key. */
  readonly usedSince: number;
}

/** What became of a claim: the token let the node in; it did so before, and does again; it is not good for this node. */
export type JoinOutcome = "taken" | "repeated" | "refused";

export interface JoinTokens {
  /**
   * A token that lets a node in again takes the place of the one made before for that node, if nobody used it.
   *
   * @throws StatusError ALREADY_EXISTS while the same token is unused, NOT_FOUND when the node to let in again is unknown or banned
   */
  create(token: JoinToken): Promise<void>;
  /** The token, expired or not, if nobody used it yet, or if the claim repeats its use. */
  find(claim: JoinTokenClaim): Promise<JoinToken | undefined>;
  /**
   * Takes the token and stores the node, in one transaction: of two nodes with the same token one is let in, and no token is used up for a
   * node that is not stored. A claim that repeats an earlier one, or whose token lets a node in again, only replaces a node that is there and not banned.
   */
  join(node: AttestedNode, claim: JoinTokenClaim): Promise<JoinOutcome>;
  /**
   * Removes an unused token, and the entries that were made with it: those with the new node as parent and `spiffe_id:<its ID>` as their
   * only selector.
   *
   * @param newNode the SPIFFE ID that a new node would have got by the token
   */
  delete(token: string, newNode: string): Promise<"deleted" | "used" | "unknown">;
  /** Removes the unused token that would let the node in again. @returns whether there was one */
  deleteRejoin(node: string): Promise<boolean>;
  /** Forgets tokens that expired before the one moment, or were used before the other (Unix seconds); returns how many. */
  prune(expiredBefore: number, usedBefore: number): Promise<number>;
}

/** An attested node. A banned node has an empty serial number. */
export interface AttestedNode {
  readonly spiffeId: string;
  readonly attestationType: string;
  /** Decimal, as the API shows it. */
  readonly serialNumber: string;
  /** Unix seconds. */
  readonly notAfter: number;
  /** The serial handed out by the last renewal and not used yet; empty when there is none. */
  readonly newSerialNumber: string;
  /** Unix seconds; 0 when there is no new serial. */
  readonly newNotAfter: number;
  readonly canReattest: boolean;
  readonly agentVersion: string;
  readonly selectors: readonly Selector[];
}

export interface NodeFilter {
  readonly attestationType?: string;
  readonly banned?: boolean;
  readonly canReattest?: boolean;
  /** Unix seconds. */
  readonly expiresBefore?: number;
  readonly selectors?: SelectorFilter;
}

export interface SelectorFilter {
  readonly selectors: readonly Selector[];
  readonly match: MatchBehavior;
}

export type NodeChange = Partial<
  Pick<
    AttestedNode,
    "serialNumber" | "notAfter" | "newSerialNumber" | "newNotAfter" | "canReattest" | "agentVersion"
  >
>;

export interface Nodes {
  /** Stores node and selectors in one transaction, replacing what was known under the SPIFFE ID. */
  put(node: AttestedNode): Promise<void>;
  find(spiffeId: string): Promise<AttestedNode | undefined>;
  /**
   * In storage order; stable across pages.
   *
   * @throws StatusError INVALID_ARGUMENT for a token that is none, or an empty set of selectors
   */
  list(filter: NodeFilter, page: Page): Promise<Listing<AttestedNode>>;
  count(filter: NodeFilter): Promise<number>;
  /** @throws StatusError NOT_FOUND */
  update(spiffeId: string, change: NodeChange): Promise<AttestedNode>;
  /**
   * Removes the node, its selectors and the tokens that would let it in again; for a node that joined by token also the entries that the token made: those with
   * the node as parent and `spiffe_id:<its ID>` as their only selector. All in one transaction.
   *
   * @throws StatusError NOT_FOUND
   */
  delete(spiffeId: string): Promise<AttestedNode>;
  /**
   * Deletes nodes expired before the moment (Unix seconds), never banned ones.
   *
   * @param includeTofu also those that cannot attest again
   * @returns their SPIFFE IDs, at most `limit`
   */
  prune(expiredBefore: number, includeTofu: boolean, limit: number): Promise<readonly string[]>;
}

/** Empty texts and an empty list of trust domains do not filter, as in the reference. */
export interface EntryFilter {
  readonly spiffeId?: string;
  readonly parentId?: string;
  readonly selectors?: SelectorFilter;
  readonly federatesWith?: {
    readonly trustDomains: readonly string[];
    readonly match: MatchBehavior;
  };
  readonly hint?: string;
  /** Only `true` filters, as in the reference. */
  readonly downstream?: boolean;
}

/** What an update replaces; a key that is absent stays as it is. */
export type EntryChange = Partial<Omit<RegistrationEntry, "id" | "createdAt" | "revisionNumber">>;

export interface CreateEntryResult {
  readonly entry: RegistrationEntry;
  /** False when an entry with the same SPIFFE ID, parent ID and selector set was there; it is returned unchanged. */
  readonly created: boolean;
}

export interface Entries {
  /**
   * Creates many entries in one transaction (one sync to disk); each succeeds or fails by itself, in order.
   *
   * @returns for each entry the result, or the StatusError that refused it (an unknown federated bundle, an ID in use)
   */
  create(entries: readonly RegistrationEntry[]): Promise<readonly (CreateEntryResult | Error)[]>;
  find(id: string): Promise<RegistrationEntry | undefined>;
  /**
   * In storage order; stable across pages.
   *
   * @throws StatusError INVALID_ARGUMENT for a token that is none, or an empty set of selectors
   */
  list(filter: EntryFilter, page: Page): Promise<Listing<RegistrationEntry>>;
  count(filter: EntryFilter): Promise<number>;
  /** Increments the revision number. @throws StatusError NOT_FOUND, or INTERNAL for an unknown federated bundle */
  update(id: string, change: EntryChange): Promise<RegistrationEntry>;
  /** @throws StatusError NOT_FOUND */
  delete(id: string): Promise<RegistrationEntry>;
  /** Removes entries that expired before the moment (Unix seconds); returns them. */
  prune(expiredBefore: number): Promise<readonly RegistrationEntry[]>;
}

/** One step towards what a set declares. What it says of an entry before must still be so. */
export type DeclaredStep =
  | {
      readonly kind: "create";
      readonly entry: RegistrationEntry;
      /** An entry of the set that makes room for it. */
      readonly replaces?: ExpectedEntry;
    }
  | {
      readonly kind: "update";
      readonly expected: ExpectedEntry;
      /** Undefined only makes the entry one of the set. */
      readonly change: EntryChange | undefined;
    }
  | { readonly kind: "remove"; readonly expected: ExpectedEntry };

/** An entry as it was when the step was thought out. */
export interface ExpectedEntry {
  readonly id: string;
  readonly revisionNumber: number;
  /** The set it is declared in; undefined when it was made by hand. */
  readonly set: string | undefined;
}

/** Which entries are declared, each in one set. An entry that anybody removes is no longer declared. */
export interface DeclaredEntries {
  /** The set of each declared entry, by the entry's ID. */
  sets(): Promise<ReadonlyMap<string, string>>;
  /**
   * Takes the steps in order, in one transaction: all of them or none. What they leave is declared in the set.
   *
   * @throws StatusError ABORTED when an entry is not as it was expected or another one was made in its place, ALREADY_EXISTS for an entry
   *   ID in use, INTERNAL for an unknown federated bundle
   */
  apply(set: string, steps: readonly DeclaredStep[]): Promise<void>;
}

/** What deleting a federated bundle does to entries that federate with it. */
export type BundleDeleteMode = "restrict" | "delete" | "dissociate";

export interface Bundles {
  find(trustDomain: string): Promise<Bundle | undefined>;
  /** By trust domain name. */
  list(page: Page): Promise<Listing<Bundle>>;
  count(): Promise<number>;
  /** @throws StatusError ALREADY_EXISTS */
  create(bundle: Bundle): Promise<void>;
  /** Creates or replaces. */
  set(bundle: Bundle): Promise<void>;
  /**
   * Adds what is missing and increments the sequence number if anything was; creates the bundle if there is none. A key whose ID is there
   * already is not added, whatever key that is. Atomic.
   *
   * @returns the bundle as it is now
   */
  append(addition: Bundle): Promise<Bundle>;
  /**
   * Reads, changes and writes the bundle as one step: nothing is written between the read and the write.
   *
   * @param change returns the new bundle, or undefined to leave it; called with the stored bundle, again if another write
   *   came first, so it must have no effect of its own
   * @throws StatusError NOT_FOUND
   */
  update(trustDomain: string, change: (bundle: Bundle) => Bundle | undefined): Promise<Bundle>;
  /** @throws StatusError NOT_FOUND, or FAILED_PRECONDITION in restrict mode when entries federate with it */
  delete(trustDomain: string, mode: BundleDeleteMode): Promise<void>;
}

/** What an update replaces; a key that is absent stays as it is. */
export type FederationRelationshipChange = Partial<Omit<FederationRelationship, "trustDomain">>;

/** The relationships that operators made through the API; those of the configuration are not stored. */
export interface FederationRelationships {
  /**
   * @param bundle stored in the same transaction, replacing what there was; undefined leaves it
   * @throws StatusError ALREADY_EXISTS
   */
  create(relationship: FederationRelationship, bundle: Bundle | undefined): Promise<void>;
  find(trustDomain: string): Promise<FederationRelationship | undefined>;
  /**
   * In storage order; stable across pages.
   *
   * @throws StatusError INVALID_ARGUMENT for a token that is none
   */
  list(page: Page): Promise<Listing<FederationRelationship>>;
  /**
   * @param bundle as for `create`
   * @returns the relationship as it is now
   * @throws StatusError NOT_FOUND
   */
  update(
    trustDomain: string,
    change: FederationRelationshipChange,
    bundle: Bundle | undefined,
  ): Promise<FederationRelationship>;
  /** Leaves the bundle where it is. @throws StatusError NOT_FOUND */
  delete(trustDomain: string): Promise<void>;
}

/** The CA journal: which authority sits in which slot. One opaque record per server. */
export interface CaJournals {
  load(): Promise<Uint8Array | undefined>;
  save(journal: Uint8Array): Promise<void>;
}
