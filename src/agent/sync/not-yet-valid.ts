import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import type { IssuedSvid } from "./issue-svids.ts";

/**
 * X509-SVIDs that begin later than this machine's clock says, because the server's is ahead: no peer would take them yet. Each waits
 * here for as long as the SVID before it can still be served.
 */
export class SvidsNotYetValid {
  /** By entry ID. */
  readonly #svids: Map<string, IssuedSvid> = new Map();

  /** Unix seconds: when the next one begins; Infinity when there is none. */
  get nextAt(): number {
    return Math.min(...[...this.#svids.values()].map(({ notBefore }) => notBefore));
  }

  /** Whether one waits that fits the entry as it is now. */
  has({ id, svidKey }: WorkloadEntry): boolean {
    return this.#svids.get(id)?.svidKey === svidKey;
  }

  /** Unix seconds: when the one for the entry with that ID begins, if there is one. */
  beginsAt(entryId: string): number | undefined {
    return this.#svids.get(entryId)?.notBefore;
  }

  add(entryId: string, svid: IssuedSvid): void {
    this.#svids.set(entryId, svid);
  }

  /**
   * Takes out what is to be served from now on: SVIDs that have begun, and those whose predecessor is gone.
   *
   * @param now Unix seconds
   * @param isServed whether an SVID is there for the entry with that ID
   */
  take(now: number, isServed: (entryId: string) => boolean): ReadonlyMap<string, IssuedSvid> {
    const taken = [...this.#svids].filter(([id, svid]) => svid.notBefore <= now || !isServed(id));
    for (const [id] of taken) this.#svids.delete(id);
    return new Map(taken);
  }
}
