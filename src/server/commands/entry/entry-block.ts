import { utcTime } from "#cli/go-time.ts";
import type { Entry } from "#proto/spire/api/types/entry.ts";
import { idText } from "#server/commands/id-message.ts";

/** A registration entry as the commands print it: a line a field, rare fields only when set, and an empty line. */
export function entryBlock(entry: Entry): string {
  const lines: string[] = [];
  const line = (label: string, value: string | number): void => {
    lines.push(`${label.padEnd(24)}: ${value}`);
  };
  const ifTrue = (label: string, value: boolean | undefined): void => {
    if (value === true) line(label, "true");
  };
  line("Entry ID", entry.id === "" ? "(none)" : entry.id);
  line("SPIFFE ID", idText(entry.spiffeId));
  line("Parent ID", idText(entry.parentId));
  line("Revision", entry.revisionNumber);
  ifTrue("Downstream", entry.downstream);
  line("X509-SVID TTL", entry.x509SvidTtl === 0 ? "default" : entry.x509SvidTtl);
  line("JWT-SVID TTL", entry.jwtSvidTtl === 0 ? "default" : entry.jwtSvidTtl);
  if (entry.expiresAt !== 0) line("Expiration time", utcTime(entry.expiresAt));
  for (const { type, value } of entry.selectors) line("Selector", `${type}:${value}`);
  for (const name of entry.federatesWith) line("FederatesWith", name);
  for (const name of entry.dnsNames) line("DNS name", name);
  ifTrue("Admin", entry.admin);
  ifTrue("StoreSvid", entry.storeSvid);
  if (entry.hint !== "") line("Hint", entry.hint);
  ifTrue("DisableX509SvidPrefetch", entry.additionalAttributes?.disableX509SvidPrefetch);
  ifTrue("JwtSvidIncludeJti", entry.additionalAttributes?.jwtSvidIncludeJti);
  return `${lines.join("\n")}\n\n`;
}
