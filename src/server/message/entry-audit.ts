import type { LogFields } from "#log/log.ts";
import type { Entry, EntryMask } from "#proto/spire/api/types/entry.ts";
import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import { momentField } from "#x509/iso-time.ts";
import { selectorsField } from "./convert-selector.ts";

/** What the audit log says about an entry that was to be written: the fields the mask names, all without a mask. */
export function entryAuditFields(entry: Entry | undefined, mask: EntryMask | undefined): LogFields {
  if (entry === undefined) return {};
  const fields: readonly [keyof EntryMask, string, unknown][] = [
    ["spiffeId", "spiffe_id", idField(entry.spiffeId)],
    ["parentId", "parent_id", idField(entry.parentId)],
    ["selectors", "selectors", selectorsField(entry.selectors)],
    ["x509SvidTtl", "x509_svid_ttl", entry.x509SvidTtl],
    ["jwtSvidTtl", "jwt_svid_ttl", entry.jwtSvidTtl],
    ["federatesWith", "federates_with", entry.federatesWith.join(",")],
    ["admin", "admin", entry.admin],
    ["downstream", "downstream", entry.downstream],
    ["expiresAt", "expires_at", momentField(entry.expiresAt)],
    ["dnsNames", "dns_name", entry.dnsNames.join(",")],
    ["revisionNumber", "revision_number", entry.revisionNumber],
    ["storeSvid", "store_svid", entry.storeSvid],
    ["hint", "hint", entry.hint],
    ["createdAt", "created_at", momentField(entry.createdAt)],
  ];
  const asked = fields.filter(([field]) => mask === undefined || mask[field]);
  return {
    ...(entry.id !== "" && { entry_id: entry.id }),
    ...Object.fromEntries(asked.map(([, name, value]) => [name, value])),
  };
}

/** As it came: it need not be a valid SPIFFE ID. */
function idField(id: SPIFFEID | undefined): string | undefined {
  return id === undefined ? undefined : `spiffe://${id.trustDomain}${id.path}`;
}
