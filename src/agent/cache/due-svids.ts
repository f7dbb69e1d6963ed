import type { WorkloadEntry } from "./workload-entry.ts";
import type { X509Svids } from "./x509-svids.ts";

/** Which X509-SVIDs to have issued. */
export interface DueSvids {
  /** Missing, and a workload waits for them. */
  readonly urgent: readonly WorkloadEntry[];
  /** Missing and to be there before a workload asks, or to be replaced. */
  readonly routine: readonly WorkloadEntry[];
  /** Unix seconds: when to look again, if nothing changes before. */
  readonly nextAt: number;
}

/**
 * What is to be issued: without a limit what a workload waits for; then what has to be replaced; and what there is room for besides.
 *
 * @param isNeeded whether a stream is open that hands out the SVID of the entry with that ID
 * @param maxSize how many SVIDs are kept for workloads that are not connected
 * @param now Unix seconds
 */
export function dueSvids(
  entries: Iterable<WorkloadEntry>,
  svids: X509Svids,
  isNeeded: (entryId: string) => boolean,
  maxSize: number,
  now: number,
): DueSvids {
  const urgent: WorkloadEntry[] = [];
  const renewals: WorkloadEntry[] = [];
  const missing: WorkloadEntry[] = [];
  let nextAt = Number.POSITIVE_INFINITY;
  for (const entry of entries) {
    const svid = svids.of(entry);
    const isWanted = isNeeded(entry.id);
    if (svid === undefined) {
      (isWanted ? urgent : missing).push(entry);
      continue;
    }
    // An SVID that is issued on demand and that nobody holds a stream for is left to expire.
    const isRenewed = isWanted || entry.prefetched;
    if (isRenewed && svid.renewAt <= now) renewals.push(entry);
    nextAt = Math.min(nextAt, isRenewed && svid.renewAt > now ? svid.renewAt : svid.notAfter);
  }
  const room = maxSize - svids.size - urgent.length;
  const prefetched = missing.filter((entry) => entry.prefetched).slice(0, Math.max(0, room));
  return { urgent, routine: [...renewals, ...prefetched], nextAt };
}
