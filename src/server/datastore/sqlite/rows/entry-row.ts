import type { EntryChange } from "#server/datastore/datastore.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { parseSelectorSet, parseTextList, selectorSetText } from "./selector-set.ts";

/** A registration entry as the tables and the writer thread know it. Lists are JSON, flags are 0 or 1. */
export interface EntryRow {
  id: string;
  spiffeId: string;
  parentId: string;
  selectorSet: string;
  x509SvidTtl: number;
  jwtSvidTtl: number;
  /** A JSON list of trust domain names, sorted. */
  federatesWith: string;
  admin: number;
  downstream: number;
  storeSvid: number;
  expiresAt: number;
  dnsNames: string;
  hint: string;
  createdAt: number;
  revisionNumber: number;
  disableX509SvidPrefetch: number;
  jwtSvidIncludeJti: number;
}

/** Selects entries as rows, with `seq`; conditions are appended. */
export const SELECT_ENTRIES = `
  SELECT seq, id, spiffe_id AS spiffeId, parent_id AS parentId, selector_set AS selectorSet,
    x509_svid_ttl AS x509SvidTtl, jwt_svid_ttl AS jwtSvidTtl, admin, downstream, store_svid AS storeSvid,
    expires_at AS expiresAt, dns_names AS dnsNames, hint, created_at AS createdAt,
    revision_number AS revisionNumber, disable_x509_svid_prefetch AS disableX509SvidPrefetch,
    jwt_svid_include_jti AS jwtSvidIncludeJti,
    (SELECT json_group_array(trust_domain) FROM
      (SELECT trust_domain FROM entry_federation WHERE owner = entries.seq ORDER BY trust_domain)
    ) AS federatesWith
  FROM entries`;

export function entryRow(entry: RegistrationEntry): EntryRow {
  return {
    id: entry.id,
    spiffeId: entry.spiffeId.toString(),
    parentId: entry.parentId.toString(),
    selectorSet: selectorSetText(entry.selectors),
    x509SvidTtl: entry.x509SvidTtl,
    jwtSvidTtl: entry.jwtSvidTtl,
    federatesWith: trustDomainsText(entry.federatesWith),
    admin: flag(entry.admin),
    downstream: flag(entry.downstream),
    storeSvid: flag(entry.storeSvid),
    expiresAt: entry.expiresAt,
    dnsNames: JSON.stringify(entry.dnsNames),
    hint: entry.hint,
    createdAt: entry.createdAt,
    revisionNumber: entry.revisionNumber,
    disableX509SvidPrefetch: flag(entry.disableX509SvidPrefetch),
    jwtSvidIncludeJti: flag(entry.jwtSvidIncludeJti),
  };
}

/** The columns that a change replaces. What else the object may hold, an ID for instance, never reaches the row. */
export function entryChangeRow(change: EntryChange): Partial<EntryRow> {
  const row: Partial<EntryRow> = {};
  if (change.spiffeId) row.spiffeId = change.spiffeId.toString();
  if (change.parentId) row.parentId = change.parentId.toString();
  if (change.selectors) row.selectorSet = selectorSetText(change.selectors);
  if (change.x509SvidTtl !== undefined) row.x509SvidTtl = change.x509SvidTtl;
  if (change.jwtSvidTtl !== undefined) row.jwtSvidTtl = change.jwtSvidTtl;
  if (change.federatesWith) row.federatesWith = trustDomainsText(change.federatesWith);
  if (change.admin !== undefined) row.admin = flag(change.admin);
  if (change.downstream !== undefined) row.downstream = flag(change.downstream);
  if (change.storeSvid !== undefined) row.storeSvid = flag(change.storeSvid);
  if (change.expiresAt !== undefined) row.expiresAt = change.expiresAt;
  if (change.dnsNames) row.dnsNames = JSON.stringify(change.dnsNames);
  if (change.hint !== undefined) row.hint = change.hint;
  if (change.disableX509SvidPrefetch !== undefined) {
    row.disableX509SvidPrefetch = flag(change.disableX509SvidPrefetch);
  }
  if (change.jwtSvidIncludeJti !== undefined)
    row.jwtSvidIncludeJti = flag(change.jwtSvidIncludeJti);
  return row;
}

/** Entries of one parent mostly come one after the other. */
let latestParent: SpiffeId | undefined;

function parentOf(text: string): SpiffeId {
  if (latestParent?.toString() !== text) latestParent = SpiffeId.parse(text);
  return latestParent;
}

/** @throws SpiffeIdError for a stored ID that is none */
export function entryFromRow(row: EntryRow): RegistrationEntry {
  return {
    id: row.id,
    spiffeId: SpiffeId.parse(row.spiffeId),
    parentId: parentOf(row.parentId),
    selectors: parseSelectorSet(row.selectorSet),
    x509SvidTtl: row.x509SvidTtl,
    jwtSvidTtl: row.jwtSvidTtl,
    federatesWith: parseTextList(row.federatesWith),
    admin: row.admin !== 0,
    downstream: row.downstream !== 0,
    storeSvid: row.storeSvid !== 0,
    expiresAt: row.expiresAt,
    dnsNames: parseTextList(row.dnsNames),
    hint: row.hint,
    createdAt: row.createdAt,
    revisionNumber: row.revisionNumber,
    disableX509SvidPrefetch: row.disableX509SvidPrefetch !== 0,
    jwtSvidIncludeJti: row.jwtSvidIncludeJti !== 0,
  };
}

const written = new WeakMap<EntryRow, RegistrationEntry>();

/** Of a row that the writer thread answered with: it is in the result and in the change that is announced, and read once for both. */
export function writtenEntry(row: EntryRow): RegistrationEntry {
  const known = written.get(row);
  if (known !== undefined) return known;
  const entry = entryFromRow(row);
  written.set(row, entry);
  return entry;
}

function trustDomainsText(names: readonly string[]): string {
  return JSON.stringify([...new Set(names)].sort());
}

function flag(value: boolean): number {
  return value ? 1 : 0;
}
