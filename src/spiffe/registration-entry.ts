import type { Selector } from "./selector.ts";
import type { SpiffeId } from "./spiffe-id.ts";

/** A registration entry: which workload, seen by which node, gets which SPIFFE ID. */
export interface RegistrationEntry {
  readonly id: string;
  readonly spiffeId: SpiffeId;
  /** The agent (or its alias) that may issue for this entry. */
  readonly parentId: SpiffeId;
  /** Sorted and free of repetitions. */
  readonly selectors: readonly Selector[];
  /** Seconds; 0 means the server's default. */
  readonly x509SvidTtl: number;
  /** Seconds; 0 means the server's default. */
  readonly jwtSvidTtl: number;
  /** Names of the trust domains whose bundles the workload gets. */
  readonly federatesWith: readonly string[];
  readonly admin: boolean;
  readonly downstream: boolean;
  readonly storeSvid: boolean;
  /** Unix seconds; 0 means never. */
  readonly expiresAt: number;
  readonly dnsNames: readonly string[];
  readonly hint: string;
  /** Unix seconds. */
  readonly createdAt: number;
  /** Starts at 0 and grows by one with each update. */
  readonly revisionNumber: number;
  readonly disableX509SvidPrefetch: boolean;
  readonly jwtSvidIncludeJti: boolean;
}
