import type { Entry } from "#proto/spire/api/types/entry.ts";
import { compareSelectors, selectorKey } from "#spiffe/selector.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";

/** What the agent keeps of a registration entry. */
export interface WorkloadEntry {
  readonly id: string;
  readonly spiffeId: SpiffeId;
  /** `type:value`, sorted. */
  readonly selectors: readonly string[];
  readonly dnsNames: readonly string[];
  /** Names of trust domains. */
  readonly federatesWith: readonly string[];
  readonly hint: string;
  /** Whether its X509-SVID is issued before a workload asks for it. */
  readonly prefetched: boolean;
  /** Whether others may receive its SVIDs for the workload; not those of administrators and downstream servers. */
  readonly delegable: boolean;
  /** Whether its JWT-SVIDs carry an ID of their own (`jti`), so that none is handed out twice. */
  readonly jwtSvidsOnce: boolean;
  /** Seconds; 0 for the server's default. */
  readonly x509SvidTtl: number;
  /** Unix seconds. */
  readonly createdAt: number;
  readonly revisionNumber: number;
  /** Equal for two revisions whose SVIDs would be the same. */
  readonly svidKey: string;
}

/** @throws SpiffeIdError when the server sent an entry that is none */
export function workloadEntry(entry: Entry): WorkloadEntry {
  const { spiffeId, dnsNames, x509SvidTtl, additionalAttributes } = entry;
  const trustDomain = TrustDomain.parse(spiffeId?.trustDomain ?? "");
  const id = SpiffeId.of(trustDomain, spiffeId?.path ?? "");
  return {
    id: entry.id,
    spiffeId: id,
    selectors: [...entry.selectors].sort(compareSelectors).map(selectorKey),
    dnsNames,
    federatesWith: entry.federatesWith,
    hint: entry.hint,
    prefetched: additionalAttributes?.disableX509SvidPrefetch !== true,
    delegable: !(entry.admin || entry.downstream),
    jwtSvidsOnce: additionalAttributes?.jwtSvidIncludeJti === true,
    x509SvidTtl,
    createdAt: entry.createdAt,
    revisionNumber: entry.revisionNumber,
    svidKey: JSON.stringify([id, dnsNames, x509SvidTtl]),
  };
}

/** An entry that was deleted and made again starts its revisions anew, but not its creation time. */
export function isSameRevision(
  a: Pick<WorkloadEntry, "createdAt" | "revisionNumber">,
  b: Pick<WorkloadEntry, "createdAt" | "revisionNumber">,
): boolean {
  return a.createdAt === b.createdAt && a.revisionNumber === b.revisionNumber;
}

/** Whether the entry is an earlier state of the other. */
export function isEarlier(entry: WorkloadEntry, than: WorkloadEntry): boolean {
  return entry.createdAt === than.createdAt
    ? entry.revisionNumber < than.revisionNumber
    : entry.createdAt < than.createdAt;
}

/** The entry with this hint comes first, whatever its age. */
const DEFAULT_HINT = "default";

/**
 * In which order a workload gets its SVIDs; the first is what it takes by default (SPIFFE Workload API §5.2.1). The oldest comes first, so that
 * an entry that is added changes nothing for whom it also matches, unless its hint says that it is to be the default.
 *
 * @returns below zero when the first comes first
 */
export function compareEntries(a: WorkloadEntry, b: WorkloadEntry): number {
  const [isDefault, isOtherDefault] = [a, b].map(({ hint }) => hint === DEFAULT_HINT);
  if (isDefault !== isOtherDefault) return isDefault ? -1 : 1;
  return a.createdAt - b.createdAt || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}
