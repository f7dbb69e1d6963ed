/**
 * What workloads are served from: entries, their X509-SVIDs with keys, and bundles. All of it lives in memory alone: no workload key
 * ever reaches a disk. Filled by the synchroniser, read by the Workload API.
 */
import type { Bundle } from "#spiffe/bundle.ts";
import { SelectorIndex } from "./selector-index.ts";
import type { WorkloadEntry } from "./workload-entry.ts";

export interface WorkloadX509Svid {
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** PKCS#8, DER. */
  readonly privateKey: Uint8Array;
  /** Unix seconds. */
  readonly notAfter: number;
  /** Unix seconds: when to replace it. */
  readonly renewAt: number;
  /** Of the entry it was issued for. */
  readonly svidKey: string;
}

export interface Identity {
  readonly entry: WorkloadEntry;
  /** Undefined until it is issued. */
  readonly svid: WorkloadX509Svid | undefined;
}

export class WorkloadCache {
  #entries: ReadonlyMap<string, WorkloadEntry> = new Map();
  #index: SelectorIndex = new SelectorIndex([]);
  readonly #svids: Map<string, WorkloadX509Svid> = new Map();
  #bundles: ReadonlyMap<string, Bundle> = new Map();
  #version = 0;
  readonly #waiting: Set<() => void> = new Set();

  get entries(): ReadonlyMap<string, WorkloadEntry> {
    return this.#entries;
  }

  /** By trust domain name; our own among them. */
  get bundles(): ReadonlyMap<string, Bundle> {
    return this.#bundles;
  }

  /** Grows with every change. */
  get version(): number {
    return this.#version;
  }

  identitiesFor(selectors: ReadonlySet<string>): readonly Identity[] {
    return this.#index.match(selectors).map((entry) => ({ entry, svid: this.#svidOf(entry) }));
  }

  /** An SVID of an older revision is served until the new one is there, unless it names somebody else. */
  #svidOf(entry: WorkloadEntry): WorkloadX509Svid | undefined {
    const svid = this.#svids.get(entry.id);
    return svid?.svidKey === entry.svidKey ? svid : undefined;
  }

  /** The entries whose SVID is missing, outdated or due. @param now Unix seconds */
  dueForIssue(now: number): WorkloadEntry[] {
    return [...this.#entries.values()].filter((entry) => {
      const svid = this.#svidOf(entry);
      return svid === undefined || svid.renewAt <= now;
    });
  }

  setEntries(entries: ReadonlyMap<string, WorkloadEntry>): void {
    const same =
      entries.size === this.#entries.size &&
      [...entries.values()].every((entry) => {
        const known = this.#entries.get(entry.id);
        return (
          known?.revisionNumber === entry.revisionNumber && known.createdAt === entry.createdAt
        );
      });
    if (same) return;
    this.#entries = entries;
    this.#index = new SelectorIndex(entries.values());
    for (const id of this.#svids.keys()) if (!entries.has(id)) this.#svids.delete(id);
    this.#changed();
  }

  /** Takes SVIDs in, by entry ID; those whose entry is gone meanwhile are dropped. */
  setSvids(svids: ReadonlyMap<string, WorkloadX509Svid>): void {
    for (const [id, svid] of svids) if (this.#entries.has(id)) this.#svids.set(id, svid);
    if (svids.size > 0) this.#changed();
  }

  /** Forgets SVIDs whose time is over; serving them would only move the error to the peer. @param now Unix seconds */
  dropExpired(now: number): void {
    for (const [id, svid] of this.#svids) if (svid.notAfter <= now) this.#svids.delete(id);
  }

  setBundles(bundles: ReadonlyMap<string, Bundle>): void {
    const fingerprint = (all: ReadonlyMap<string, Bundle>): string =>
      JSON.stringify([...all], (_key, value: unknown) =>
        value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value,
      );
    if (fingerprint(bundles) === fingerprint(this.#bundles)) return;
    this.#bundles = bundles;
    this.#changed();
  }

  /** Resolves when the version is no longer the given one, or when the signal aborts. */
  changedSince(version: number, signal: AbortSignal): Promise<void> {
    if (this.#version !== version || signal.aborted) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => {
      this.#waiting.delete(wake);
      signal.removeEventListener("abort", wake);
      resolve();
    };
    this.#waiting.add(wake);
    signal.addEventListener("abort", wake, { once: true });
    return promise;
  }

  #changed(): void {
    this.#version++;
    for (const wake of [...this.#waiting]) wake();
  }
}
