/** The X509-SVIDs of workloads with their keys, in memory alone, those used longest ago first. */
import { isSameRevision, type WorkloadEntry } from "./workload-entry.ts";

/** An authority that signed something, in hexadecimal digits. */
export interface Signatory {
  /** Its name, DER. */
  readonly name: string;
  /** The ID of its key; empty where none is given. */
  readonly keyId: string;
}

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
  /** The authority in the bundle that its chain leads to. */
  readonly signatory: Signatory;
}

export class X509Svids {
  /** By entry ID. */
  readonly #svids: Map<string, WorkloadX509Svid> = new Map();
  /** The entries that the server would not issue for, by their IDs. */
  readonly #refused: Map<string, WorkloadEntry> = new Map();

  get size(): number {
    return this.#svids.size;
  }

  /** An SVID of an older revision is served until the new one is there, unless it names somebody else. */
  of(entry: WorkloadEntry): WorkloadX509Svid | undefined {
    const svid = this.#svids.get(entry.id);
    return svid?.svidKey === entry.svidKey ? svid : undefined;
  }

  set(entryId: string, svid: WorkloadX509Svid): void {
    this.#svids.set(entryId, svid);
    this.#refused.delete(entryId);
  }

  delete(entryId: string): void {
    this.#svids.delete(entryId);
    this.#refused.delete(entryId);
  }

  refuse(entry: WorkloadEntry): void {
    this.#refused.set(entry.id, entry);
  }

  /** Whether the server would not issue for the entry as it is now, when it was asked last. */
  isRefused(entry: WorkloadEntry): boolean {
    const refused = this.#refused.get(entry.id);
    return refused !== undefined && isSameRevision(refused, entry);
  }

  /** Marks it as the one used last. */
  touch(entryId: string): void {
    const svid = this.#svids.get(entryId);
    if (svid === undefined) return;
    this.#svids.delete(entryId);
    this.#svids.set(entryId, svid);
  }

  /** Drops the SVIDs used longest ago until no more than so many are left; those that are needed stay, whatever the limit. */
  shrink(size: number, isNeeded: (entryId: string) => boolean): void {
    let excess = this.#svids.size - size;
    if (excess <= 0) return;
    for (const id of this.#svids.keys()) {
      if (isNeeded(id)) continue;
      this.#svids.delete(id);
      if (--excess === 0) return;
    }
  }

  /** Drops those whose time is over. @param now Unix seconds @returns the IDs of their entries */
  dropExpired(now: number): string[] {
    const expired = [...this.#svids].filter(([, svid]) => svid.notAfter <= now);
    for (const [id] of expired) this.#svids.delete(id);
    return expired.map(([id]) => id);
  }

  /** Makes those that the test accepts due at once. @returns how many */
  expedite(accepts: (svid: WorkloadX509Svid) => boolean): number {
    let count = 0;
    for (const [id, svid] of this.#svids) {
      if (!accepts(svid)) continue;
      this.#svids.set(id, { ...svid, renewAt: 0 });
      count++;
    }
    return count;
  }

  [Symbol.iterator](): IterableIterator<[string, WorkloadX509Svid]> {
    return this.#svids.entries();
  }
}
