import { Entry, type EntryMask } from "#proto/spire/api/types/entry.ts";
import type { EntryChange } from "#server/datastore/datastore.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import type { SpiffeId } from "#spiffe/spiffe-id.ts";
import { problemText } from "#spiffe/spiffe-id-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { idMessage, memberIdFrom, workloadIdFrom } from "./convert-id.ts";
import { normalizedSelectors, selectorMessages, selectorsFrom } from "./convert-selector.ts";
import { dnsNameProblem } from "./dns-name.ts";
import { maskedMessage } from "./output-mask.ts";

const MAX_HINT_BYTES = 1024;

/** What a caller may set in an entry. */
export type EntryFields = Required<EntryChange>;

type Reader = (message: Entry, trustDomain: TrustDomain) => EntryChange;

/** How each field of the mask is read and checked, in the order in which the reference finds fault. */
const READERS: Readonly<Record<keyof EntryMask, Reader>> = {
  parentId: (message, trustDomain) => ({ parentId: parentIdFrom(trustDomain, message) }),
  spiffeId: (message, trustDomain) => ({ spiffeId: spiffeIdFrom(trustDomain, message) }),
  dnsNames: (message) => ({ dnsNames: dnsNamesFrom(message) }),
  federatesWith: (message) => ({ federatesWith: federatesWithFrom(message) }),
  selectors: (message) => ({ selectors: entrySelectorsFrom(message) }),
  hint: (message) => ({ hint: hintFrom(message) }),
  x509SvidTtl: ({ x509SvidTtl }) => ({ x509SvidTtl }),
  jwtSvidTtl: ({ jwtSvidTtl }) => ({ jwtSvidTtl }),
  admin: ({ admin }) => ({ admin }),
  downstream: ({ downstream }) => ({ downstream }),
  storeSvid: ({ storeSvid }) => ({ storeSvid }),
  expiresAt: ({ expiresAt }) => ({ expiresAt }),
  additionalAttributes: ({ additionalAttributes }) => ({
    disableX509SvidPrefetch: additionalAttributes?.disableX509SvidPrefetch ?? false,
    jwtSvidIncludeJti: additionalAttributes?.jwtSvidIncludeJti ?? false,
  }),
  // These two are the server's own; a caller cannot set them.
  revisionNumber: () => ({}),
  createdAt: () => ({}),
};

/** The entry as a message, holding what the mask asks for; without a mask, everything. The ID is always there. */
export function entryMessage(entry: RegistrationEntry, mask: EntryMask | undefined): Entry {
  const { disableX509SvidPrefetch, jwtSvidIncludeJti } = entry;
  const message: Entry = {
    id: entry.id,
    spiffeId: idMessage(entry.spiffeId),
    parentId: idMessage(entry.parentId),
    selectors: selectorMessages(entry.selectors),
    x509SvidTtl: entry.x509SvidTtl,
    federatesWith: [...entry.federatesWith],
    admin: entry.admin,
    downstream: entry.downstream,
    expiresAt: entry.expiresAt,
    dnsNames: [...entry.dnsNames],
    revisionNumber: entry.revisionNumber,
    storeSvid: entry.storeSvid,
    jwtSvidTtl: entry.jwtSvidTtl,
    hint: entry.hint,
    createdAt: entry.createdAt,
    additionalAttributes:
      disableX509SvidPrefetch || jwtSvidIncludeJti
        ? { disableX509SvidPrefetch, jwtSvidIncludeJti }
        : undefined,
  };
  return maskedMessage(message, mask, Entry.fromPartial({}));
}

/** Reads a whole entry. @throws Error in the words of the reference */
export function entryFieldsFrom(trustDomain: TrustDomain, message: Entry): EntryFields {
  const parts = Object.values(READERS).map((read) => read(message, trustDomain));
  return Object.assign({}, ...parts) as EntryFields;
}

/** Reads what the mask names and nothing else, not even to check it. @throws Error in the words of the reference */
export function entryChangeFrom(
  trustDomain: TrustDomain,
  message: Entry,
  mask: EntryMask | undefined,
): EntryChange {
  if (mask === undefined) return entryFieldsFrom(trustDomain, message);
  const fields = (Object.keys(READERS) as (keyof EntryMask)[]).filter((field) => mask[field]);
  const parts = fields.map((field) => READERS[field](message, trustDomain));
  return Object.assign({}, ...parts) as EntryChange;
}

function parentIdFrom(trustDomain: TrustDomain, message: Entry): SpiffeId {
  return reading("invalid parent ID", () => memberIdFrom(trustDomain, message.parentId));
}

function spiffeIdFrom(trustDomain: TrustDomain, message: Entry): SpiffeId {
  return reading("invalid spiffe ID", () => workloadIdFrom(trustDomain, message.spiffeId));
}

function dnsNamesFrom(message: Entry): string[] {
  for (const name of message.dnsNames) {
    const problem = dnsNameProblem(name);
    if (problem !== undefined) throw new Error(`invalid DNS name: ${problem}`);
  }
  return message.dnsNames;
}

function federatesWithFrom(message: Entry): string[] {
  return reading("invalid federated trust domain", () =>
    message.federatesWith.map((name) => TrustDomain.parse(name).name),
  );
}

function entrySelectorsFrom(message: Entry): EntryFields["selectors"] {
  if (message.selectors.length === 0) throw new Error("selector list is empty");
  return normalizedSelectors(selectorsFrom(message.selectors));
}

function hintFrom(message: Entry): string {
  if (Buffer.byteLength(message.hint) > MAX_HINT_BYTES) {
    throw new Error(`hint is too long, max length is ${MAX_HINT_BYTES} characters`);
  }
  return message.hint;
}

function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Error(`${what}: ${problemText(error)}`, { cause: error });
  }
}
