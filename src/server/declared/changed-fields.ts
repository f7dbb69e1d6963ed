import type { EntryFields } from "#server/message/convert-entry.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { selectorKey } from "#spiffe/selector.ts";

type Field = keyof EntryFields;

/** By what texts the values of a field are compared. Which fields there are, the compiler knows. */
const TEXTS: { readonly [Name in Field]: (value: EntryFields[Name]) => string } = {
  spiffeId: String,
  parentId: String,
  selectors: (selectors) => JSON.stringify(selectors.map(selectorKey)),
  x509SvidTtl: String,
  jwtSvidTtl: String,
  // The store keeps them as a set, DNS names as a list: the first one is the certificate's common name.
  federatesWith: (names) => JSON.stringify([...new Set(names)].sort()),
  admin: String,
  downstream: String,
  storeSvid: String,
  expiresAt: String,
  dnsNames: (names) => JSON.stringify(names),
  hint: String,
  disableX509SvidPrefetch: String,
  jwtSvidIncludeJti: String,
};

/** The names of what differs. */
export function changedFields(before: RegistrationEntry, after: EntryFields): readonly Field[] {
  return (Object.keys(TEXTS) as Field[]).filter(
    (field) => textOf(field, before) !== textOf(field, after),
  );
}

function textOf<Name extends Field>(field: Name, fields: EntryFields): string {
  return TEXTS[field](fields[field]);
}
