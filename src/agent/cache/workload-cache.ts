/**
 * What workloads are served from: entries, their X509-SVIDs with keys, and bundles. All of it lives in memory alone: no workload key
 * ever reaches a disk. Filled by the synchroniser, read by the Workload API.
 */
import type { Clock } from "#clock/clock.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";
import { BundleForms } from "./bundle-forms.ts";
import { type CallerNeed, Callers } from "./callers.ts";
import { type DueSvids, dueSvids } from "./due-svids.ts";
import { SelectorIndex } from "./selector-index.ts";
import { type Identity, Subscription } from "./subscription.ts";
import { isSameRevision, type WorkloadEntry } from "./workload-entry.ts";
import { type WorkloadX509Svid, X509Svids } from "./x509-svids.ts";

/** All that a cache holds, by entry ID or trust domain name. */
export interface CacheContent {
  readonly entries: ReadonlyMap<string, WorkloadEntry>;
  readonly svids: ReadonlyMap<string, WorkloadX509Svid>;
  readonly bundles: ReadonlyMap<string, Bundle>;
}

export interface WorkloadCacheParts {
  readonly trustDomain: TrustDomain;
  /** X509-SVIDs kept for workloads that are not connected. */
  readonly x509SvidCacheMaxSize: number;
  readonly clock: Clock;
}

/** @param takesAway whether somebody may have lost something: an entry was removed or became another, a bundle likewise */
export type ChangeListener = (takesAway: boolean) => void;

export class WorkloadCache {
  readonly #parts: WorkloadCacheParts;
  readonly #entries: Map<string, WorkloadEntry> = new Map();
  readonly #index: SelectorIndex = new SelectorIndex();
  readonly #svids: X509Svids = new X509Svids();
  readonly #bundles: Map<string, BundleForms> = new Map();
  readonly #callers: Callers;
  #isFilled = false;
  #isServerAway = false;
  #isClosed = false;
  #version = 0;
  #onDue: () => void = () => {};
  readonly #listeners: Set<ChangeListener> = new Set();

  constructor(parts: WorkloadCacheParts) {
    this.#parts = parts;
    this.#callers = new Callers(parts.clock, (selectors) => this.#index.match(selectors));
  }

  get entries(): ReadonlyMap<string, WorkloadEntry> {
    return this.#entries;
  }

  /** By trust domain name; our own among them. */
  get bundles(): ReadonlyMap<string, BundleForms> {
    return this.#bundles;
  }

  get ownBundle(): BundleForms | undefined {
    return this.#bundles.get(this.#parts.trustDomain.name);
  }

  get svidCount(): number {
    return this.#svids.size;
  }

  /** Unix seconds: when the first of the SVIDs is to be replaced. Infinity when there are none. */
  get renewAt(): number {
    let first = Number.POSITIVE_INFINITY;
    for (const [, { renewAt }] of this.#svids) first = Math.min(first, renewAt);
    return first;
  }

  /** Whether there is an SVID for the entry with that ID, as the entry is now. */
  hasSvid(entryId: string): boolean {
    const entry = this.#entries.get(entryId);
    return entry !== undefined && this.#svids.of(entry) !== undefined;
  }

  /** Whether the server has said which entries there are; before that nobody can be told that he has no identity. */
  get isFilled(): boolean {
    return this.#isFilled;
  }

  get isServerAway(): boolean {
    return this.#isServerAway;
  }

  /** Told whether the server answers. Workloads that wait for an SVID are woken, so that they need not wait in vain. */
  set isServerAway(away: boolean) {
    if (away === this.#isServerAway) return;
    this.#isServerAway = away;
    for (const listener of this.#listeners) listener(false);
    if (!away) {
      this.#shrink();
      return;
    }
    const missing = (entry: WorkloadEntry): boolean => this.#svids.of(entry) === undefined;
    this.#callers.changed(({ entries }) => entries.some(missing));
  }

  /** Whether the agent is about to stop. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** The rules of who may have what were changed: wakes all streams, so that they look again at whom they serve. */
  reconsider(): void {
    this.#callers.changed(() => true);
  }

  /** The agent is about to stop: wakes all streams, so that they end. */
  close(): void {
    this.#isClosed = true;
    this.#callers.changed(() => true);
  }

  /** Grows with every change of what it holds. */
  get version(): number {
    return this.#version;
  }

  /** Calls the listener when the version grows, and when the server goes away or comes back. @returns ends that */
  onChange(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #changed(takesAway = false): void {
    this.#version++;
    for (const listener of this.#listeners) listener(takesAway);
  }

  /** What it holds at this moment. */
  content(): CacheContent {
    const bundles = [...this.#bundles].map(([name, { bundle }]) => [name, bundle] as const);
    return {
      entries: new Map(this.#entries),
      svids: new Map(this.#svids),
      bundles: new Map(bundles),
    };
  }

  /** Takes over what another cache held, all of its SVIDs included: the server may be away, and could not issue them again. */
  restore({ entries, svids, bundles }: CacheContent): void {
    for (const bundle of bundles.values()) this.setBundle(bundle);
    this.setEntries(entries);
    for (const [id, svid] of svids) if (entries.has(id)) this.#svids.set(id, svid);
    this.#changed();
  }

  /** Sets who is called when SVIDs may have become due. */
  whenDue(call: () => void): void {
    this.#onDue = call;
  }

  identitiesFor(selectors: ReadonlySet<string>): readonly Identity[] {
    return this.#identities(this.#index.match(selectors));
  }

  /** Follows what concerns a workload; the SVIDs it needs are issued, and kept for as long as it stays. */
  subscribe(selectors: ReadonlySet<string>, need: CallerNeed): Subscription {
    const group = this.#callers.join(selectors, need);
    for (const { id } of group.entries) this.#svids.touch(id);
    if (group.entries.some((entry) => this.#svids.of(entry) === undefined)) this.#onDue();
    return new Subscription(
      group,
      () => this.#identities(group.entries),
      () => {
        this.#callers.leave(group, need);
        this.#shrink();
      },
    );
  }

  #identities(entries: readonly WorkloadEntry[]): readonly Identity[] {
    return entries.map((entry) => ({
      entry,
      svid: this.#svids.of(entry),
      isRefused: this.#svids.isRefused(entry),
    }));
  }

  /** Takes all entries there are, in place of those known. */
  setEntries(entries: ReadonlyMap<string, WorkloadEntry>): void {
    const removed = [...this.#entries.keys()].filter((id) => !entries.has(id));
    const stored = [...entries.values()].filter((entry) => {
      const known = this.#entries.get(entry.id);
      return known === undefined || !isSameRevision(known, entry);
    });
    this.#isFilled = true;
    this.changeEntries(stored, removed);
  }

  /** Takes single entries, new or changed, and forgets others by their IDs. */
  changeEntries(stored: readonly WorkloadEntry[], removedIds: readonly string[]): void {
    const concerned: WorkloadEntry[] = [];
    for (const id of removedIds) {
      const known = this.#entries.get(id);
      if (known === undefined) continue;
      concerned.push(known);
      this.#entries.delete(id);
      this.#index.remove(id);
      this.#svids.delete(id);
    }
    for (const entry of stored) {
      const known = this.#entries.get(entry.id);
      if (known !== undefined) concerned.push(known);
      concerned.push(entry);
      this.#entries.set(entry.id, entry);
      this.#index.add(entry);
    }
    if (concerned.length === 0) return;
    this.#changed(concerned.length > stored.length);
    this.#callers.entriesChanged(concerned);
    this.#onDue();
  }

  /** Takes SVIDs in, by entry ID; those whose entry is gone meanwhile are dropped. */
  setSvids(svids: ReadonlyMap<string, WorkloadX509Svid>): void {
    const concerned: WorkloadEntry[] = [];
    for (const [id, svid] of svids) {
      const entry = this.#entries.get(id);
      if (entry === undefined) continue;
      this.#svids.set(id, svid);
      concerned.push(entry);
    }
    this.#shrink();
    this.#changed();
    this.#callers.svidsChanged(concerned);
  }

  /** The server would not issue an SVID for the entry: whatever else a workload is does not wait for it any more. */
  refuseSvid(entry: WorkloadEntry): void {
    if (!this.#entries.has(entry.id) || this.#svids.isRefused(entry)) return;
    this.#svids.refuse(entry);
    this.#callers.svidsChanged([entry]);
  }

  #shrink(): void {
    // What goes now does not come back before the server does.
    if (this.#isServerAway) return;
    this.#svids.shrink(this.#parts.x509SvidCacheMaxSize, (id) => this.#callers.needs(id));
  }

  /** Forgets SVIDs whose time is over; serving them would only move the error to the peer. @param now Unix seconds */
  dropExpired(now: number): void {
    const ids = this.#svids.dropExpired(now);
    this.#callers.svidsChanged(ids.flatMap((id) => this.#entries.get(id) ?? []));
  }

  /** Makes the SVIDs that the test accepts due at once; they are served until they are replaced. @returns how many */
  expedite(accepts: (svid: WorkloadX509Svid) => boolean): number {
    const count = this.#svids.expedite(accepts);
    if (count > 0) this.#onDue();
    return count;
  }

  setBundle(bundle: Bundle): void {
    const { name } = bundle.trustDomain;
    const known = this.#bundles.get(name);
    const forms = BundleForms.of(bundle, known);
    if (forms === known) return;
    this.#bundles.set(name, forms);
    this.#changed(known !== undefined);
    this.#bundleChanged(name);
  }

  /** Forgets a federated bundle. */
  deleteBundle(name: string): void {
    if (!this.#bundles.delete(name)) return;
    this.#changed(true);
    this.#bundleChanged(name);
  }

  #bundleChanged(name: string): void {
    const isOwn = name === this.#parts.trustDomain.name;
    this.#callers.changed(
      ({ entries, streams }) =>
        isOwn ||
        streams["all-bundles"] > 0 ||
        entries.some(({ federatesWith }) => federatesWith.includes(name)),
    );
  }

  /** @param now Unix seconds */
  dueForIssue(now: number): DueSvids {
    const needs = (id: string): boolean => this.#callers.needs(id);
    return dueSvids(
      this.#entries.values(),
      this.#svids,
      needs,
      this.#parts.x509SvidCacheMaxSize,
      now,
    );
  }
}
