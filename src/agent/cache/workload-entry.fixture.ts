import { SpiffeId } from "#spiffe/spiffe-id.ts";
import type { WorkloadEntry } from "./workload-entry.ts";

/** An entry that is as plain as can be, but for what a test cares about. */
export const makeWorkloadEntry = (
  id: string,
  more: Partial<WorkloadEntry> = {},
): WorkloadEntry => ({
  id,
  spiffeId: SpiffeId.parse(`spiffe://example.org/${id}`),
  selectors: [`unix:user:${id}`],
  dnsNames: [],
  federatesWith: [],
  hint: "",
  prefetched: true,
  delegable: true,
  jwtSvidsOnce: false,
  x509SvidTtl: 0,
  createdAt: 0,
  revisionNumber: 0,
  svidKey: id,
  ...more,
});
