/**
 * Reads the JSON files of `entry create -data` and `entry delete -file`. Unknown keys are ignored, as the reference does; a value
 * of the wrong type is an error that names it. What `entry show -output json` prints is read as well, though some of its keys have other names
 * and its IDs are objects.
 */

import { readInputFile } from "#cli/input-file.ts";
import type { Io } from "#cli/io.ts";
import { explained } from "#cli/rpc-error.ts";
import type { Entry } from "#proto/spire/api/types/entry.ts";
import { idMessage } from "#server/commands/id-message.ts";
import { JsonObject } from "#server/commands/json-object.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";

/** @param path `-` for standard input. @throws Error */
export async function readEntries(path: string, io: Io): Promise<Entry[]> {
  const document = JsonObject.parse(await readInputFile(path, io));
  const entries: Entry[] = [];
  for (const item of document.objects("entries")) entries.push(await entryFrom(item));
  return entries;
}

/** Entry IDs out of `{"ids": […]}`. @param path `-` for standard input. @throws Error */
export async function readEntryIds(path: string, io: Io): Promise<string[]> {
  return JsonObject.parse(await readInputFile(path, io)).strings("ids");
}

async function entryFrom(item: JsonObject): Promise<Entry> {
  const [id, parent] = [idOf(item, "spiffe_id"), idOf(item, "parent_id")];
  const spiffeId = await explained("invalid SPIFFE ID", () => idMessage(id));
  const parentId = await explained("invalid parent ID", () => idMessage(parent));
  const names = item.strings("federates_with");
  const federatesWith = await explained("invalid federated trust domain", () =>
    names.map((name) => TrustDomain.parse(name).name),
  );
  const attributes = item.object("additional_attributes");
  return {
    id: item.text("entry_id") || item.text("id"),
    spiffeId,
    parentId,
    federatesWith,
    selectors: item
      .objects("selectors")
      .map((selector) => ({ type: selector.text("type"), value: selector.text("value") })),
    x509SvidTtl: item.seconds("x509_svid_ttl"),
    jwtSvidTtl: item.seconds("jwt_svid_ttl"),
    admin: item.flag("admin"),
    downstream: item.flag("downstream"),
    // The reference reads only entryExpiry, but its documentation and ours say entry_expiry: an expiry must never be lost.
    expiresAt:
      item.number("entryexpiry") || item.number("entry_expiry") || item.number64("expires_at"),
    dnsNames: item.strings("dns_names"),
    revisionNumber: item.number64("revision_number"),
    storeSvid: item.flag("store_svid"),
    hint: item.text("hint"),
    createdAt: item.number64("created_at"),
    additionalAttributes: attributes && {
      disableX509SvidPrefetch: attributes.flag("disable_x509_svid_prefetch"),
      jwtSvidIncludeJti: attributes.flag("jwt_svid_include_jti"),
    },
  };
}

/** A text, or what the API's JSON makes of an ID: an object of `trust_domain` and `path`. */
function idOf(item: JsonObject, key: string): string {
  if (typeof item.value(key) !== "object") return item.text(key);
  const id = item.object(key);
  return `spiffe://${id?.text("trust_domain") ?? ""}${id?.text("path") ?? ""}`;
}
