/**
 * One declared entry: the keys of `entry create -data`, and those that `entry show -output json` prints, so that what it printed can be
 * kept as a file. An unknown key is an error, as it would otherwise be a rule that is not followed.
 */
import { parseDuration } from "#config/duration.ts";
import type { ObjectValue, Entry as Pair, Value } from "#config/tree.ts";
import { Entry } from "#proto/spire/api/types/entry.ts";
import type { Selector as SelectorMessage } from "#proto/spire/api/types/selector.ts";
import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import { parseSelector } from "#spiffe/selector.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { problemText } from "#spiffe/spiffe-id-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";

/** Takes note of what is wrong with a value. */
export type Complain = (at: Value["at"], what: string) => void;

type Reader = (value: Value) => Partial<Entry>;

const INT32_MAX = 2 ** 31 - 1;
/** The last second that a time in JavaScript can have; far beyond it a number of seconds is a mistake. */
const MAX_UNIX_SECONDS = 8.64e12;

const readId: Reader = (value) => ({ id: text(value) });
const readExpiry: Reader = (value) => ({ expiresAt: whole(value, MAX_UNIX_SECONDS) });

/** By key, in lower case. */
const READERS: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ["entry_id", readId],
  ["id", readId],
  ["spiffe_id", (value) => ({ spiffeId: spiffeId(value) })],
  ["parent_id", (value) => ({ parentId: spiffeId(value) })],
  ["selectors", (value) => ({ selectors: list(value).map(selector) })],
  ["x509_svid_ttl", (value) => ({ x509SvidTtl: seconds(value) })],
  ["jwt_svid_ttl", (value) => ({ jwtSvidTtl: seconds(value) })],
  ["federates_with", (value) => ({ federatesWith: list(value).map(text) })],
  ["admin", (value) => ({ admin: flag(value) })],
  ["downstream", (value) => ({ downstream: flag(value) })],
  ["store_svid", (value) => ({ storeSvid: flag(value) })],
  ["entry_expiry", readExpiry],
  ["entryexpiry", readExpiry],
  ["expires_at", readExpiry],
  ["dns_names", (value) => ({ dnsNames: list(value).map(text) })],
  ["hint", (value) => ({ hint: text(value) })],
  ["additional_attributes", (value) => ({ additionalAttributes: attributes(value) })],
  // The server's own: taken, so that what it printed can be declared, and not looked at.
  ["revision_number", () => ({})],
  ["created_at", () => ({})],
  ["declared_set", () => ({})],
]);

const REQUIRED: readonly string[] = ["spiffe_id", "parent_id", "selectors"];

/** Reads one entry; what is wrong with it, all of it, is complained of. */
export function readEntry(value: ObjectValue, complain: Complain): Entry {
  const entry = Entry.fromPartial({});
  // By what reads them, as some keys have two names.
  const found = new Set<Reader | string>();
  for (const pair of value.entries) {
    const key = pair.key.toLowerCase();
    const reader = READERS.get(key) ?? key;
    if (found.has(reader)) complain(pair.at, `${pair.key} is given twice`);
    found.add(reader);
    if (pair.value.kind !== "null") set(entry, pair, complain);
  }
  for (const key of REQUIRED) {
    const given = value.entries.find((pair) => pair.key.toLowerCase() === key);
    if (given === undefined || given.value.kind === "null") {
      complain(value.at, `${key} is missing`);
    }
  }
  return entry;
}

function set(entry: Entry, { key, value, at }: Pair, complain: Complain): void {
  const read = READERS.get(key.toLowerCase());
  if (read === undefined) {
    complain(at, `unknown key ${JSON.stringify(key)} in an entry`);
    return;
  }
  try {
    Object.assign(entry, read(value));
  } catch (error) {
    const place = error instanceof Wrong ? error.at : value.at;
    complain(place, `${key}: ${problemText(error)}`);
  }
}

/** A value inside another one that is not what it should be. */
class Wrong extends Error {
  readonly at: Value["at"];

  constructor(at: Value["at"], message: string) {
    super(message);
    this.at = at;
  }
}

function text(value: Value): string {
  if (value.kind !== "string") throw new Wrong(value.at, "must be a text, in quotation marks");
  return value.value;
}

function flag(value: Value): boolean {
  if (value.kind !== "boolean") throw new Wrong(value.at, "must be true or false");
  return value.value;
}

function list(value: Value): readonly Value[] {
  if (value.kind !== "list") throw new Wrong(value.at, "must be a list");
  return value.items;
}

/** A whole number, also as a text: so JSON writes those of 64 bits. */
function whole(value: Value, max: number): number {
  const digits = value.kind === "number" ? value.text : value.kind === "string" ? value.value : "";
  const number = /^[0-9]+$/.test(digits) ? Number(digits) : Number.NaN;
  if (!(number <= max)) throw new Wrong(value.at, `must be a whole number from 0 to ${max}`);
  return number;
}

/** A whole number of seconds, or a text such as `1h30m`. */
function seconds(value: Value): number {
  if (value.kind !== "string" || !/[hms]$/.test(value.value)) return whole(value, INT32_MAX);
  try {
    const length = Math.ceil(parseDuration(value.value));
    if (length >= 0 && length <= INT32_MAX) return length;
  } catch {
    // As below: what it should be helps more than why it is not.
  }
  throw new Wrong(value.at, `must be seconds from 0 to ${INT32_MAX}, or a duration such as 1h30m`);
}

/** A text, or what the API's JSON makes of an ID: an object of `trust_domain` and `path`. */
function spiffeId(value: Value): SPIFFEID {
  const id =
    value.kind === "object"
      ? fieldsOf(value, ["trust_domain", "path"], ([name = "", path = ""]) =>
          SpiffeId.of(TrustDomain.parse(name), path),
        )
      : SpiffeId.parse(text(value));
  return { trustDomain: id.trustDomain.name, path: id.path };
}

/** `type:value`, or an object of the two. */
function selector(value: Value): SelectorMessage {
  if (value.kind === "object") {
    return fieldsOf(value, ["type", "value"], ([type = "", inner = ""]) => ({
      type,
      value: inner,
    }));
  }
  try {
    return parseSelector(text(value));
  } catch (error) {
    throw new Wrong(value.at, problemText(error));
  }
}

/** An object of these texts and no others. */
function fieldsOf<T>(
  value: ObjectValue,
  keys: readonly string[],
  make: (texts: readonly string[]) => T,
): T {
  for (const { key, at } of value.entries) {
    if (!keys.includes(key.toLowerCase())) {
      throw new Wrong(at, `unknown key ${JSON.stringify(key)}; ${keys.join(" and ")} are wanted`);
    }
  }
  const texts = keys.map((key) => {
    const found = value.entries.filter((pair) => pair.key.toLowerCase() === key);
    const [only] = found;
    if (only === undefined) throw new Wrong(value.at, `${key} is missing`);
    if (found.length > 1) throw new Wrong(only.at, `${key} is given twice`);
    return text(only.value);
  });
  try {
    return make(texts);
  } catch (error) {
    throw error instanceof Wrong ? error : new Wrong(value.at, problemText(error));
  }
}

function attributes(value: Value): NonNullable<Entry["additionalAttributes"]> {
  if (value.kind !== "object") throw new Wrong(value.at, "must be an object");
  const read = { disableX509SvidPrefetch: false, jwtSvidIncludeJti: false };
  for (const { key, value: inner, at } of value.entries) {
    switch (key.toLowerCase()) {
      case "disable_x509_svid_prefetch":
        read.disableX509SvidPrefetch = flag(inner);
        break;
      case "jwt_svid_include_jti":
        read.jwtSvidIncludeJti = flag(inner);
        break;
      default:
        throw new Wrong(at, `unknown key ${JSON.stringify(key)}`);
    }
  }
  return read;
}
