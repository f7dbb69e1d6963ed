import type { Command } from "#cli/command.ts";
import type { FlagValues } from "#cli/flags.ts";
import type { Io } from "#cli/io.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import type { Entry, EntryMask } from "#proto/spire/api/types/entry.ts";
import type { ServerConnection } from "#server/client/connection.ts";
import { idMessage } from "#server/commands/id-message.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { readEntries } from "./entry-file.ts";
import { checkCommon, type EntryFlags, entryFlags, entryFromFlags } from "./entry-flags.ts";
import { fillRefused, printEntryResults } from "./print-results.ts";

const flags = {
  ...entryFlags("The ID of the entry to change"),
  output: outputFlag(),
};

/** Together they say what an entry is, as the reference demands of every update. */
const IDENTITY = ["spiffeID", "parentID", "selector"] as const;

/** By the field of an entry that a flag sets. */
const FIELDS = {
  spiffeId: "spiffeID",
  parentId: "parentID",
  selectors: "selector",
  x509SvidTtl: "x509SVIDTTL",
  jwtSvidTtl: "jwtSVIDTTL",
  federatesWith: "federatesWith",
  admin: "admin",
  downstream: "downstream",
  expiresAt: "entryExpiry",
  dnsNames: "dns",
  storeSvid: "storeSVID",
  hint: "hint",
} as const satisfies Partial<Record<keyof EntryMask, keyof EntryFlags>>;

const ATTRIBUTES = ["disableX509SVIDPrefetch", "jwtSVIDIncludeJTI"] as const;

/**
 * With the SPIFFE ID, the parent and the selectors all given, the entry is described anew as with the reference, and what else is not given is
 * cleared: a script that leaves out `-admin` means that. With any of the three left out, which the reference refuses, the rest is kept.
 */
export const entryUpdate: Command = serverCommand({
  synopsis: "Changes registration entries",
  flags,
  run: async ({ flags: values, given, io, server }) => {
    const change =
      values.data === ""
        ? changeFrom(values, given)
        : { entries: await readEntries(values.data, io), inputMask: undefined };
    const connection = await server();
    const [only] = change.entries;
    const before =
      values.data === "" && only !== undefined
        ? await keepAttributes(connection, only, change.inputMask, given)
        : undefined;
    const answer = await connection.entry("batchUpdateEntry", { ...change, outputMask: undefined });
    const changed = answer.results.flatMap(({ status, entry }) =>
      (status?.code ?? 0) === 0 && entry !== undefined ? [entry] : [],
    );
    fillRefused(answer.results, change.entries);
    const { warnOfEntries } = await import("./warnings.ts");
    await warnOfEntries(connection, changed, io);
    printMessages(io, values.output, [answer], () => {
      printEntryResults(io, answer.results, "update");
    });
    if (before !== undefined) tellCleared(before, answer.results[0]?.entry, io);
  },
});

interface EntryChange {
  readonly entries: Entry[];
  /** Undefined for all. */
  readonly inputMask: EntryMask | undefined;
}

/** @throws Error when the flags do not say which entry, or what of it */
function changeFrom(values: FlagValues<EntryFlags>, given: ReadonlySet<string>): EntryChange {
  if (values.entryID === "") throw new Error("entry ID is required");
  if (IDENTITY.every((name) => given.has(name))) {
    checkIdentity(values, () => true);
    checkCommon(values);
    return { entries: [entryFrom(values)], inputMask: undefined };
  }
  const attributes = ATTRIBUTES.some((name) => given.has(name));
  const named = Object.entries(FIELDS).filter(([, name]) => given.has(name));
  if (named.length === 0 && !attributes) throw new Error("nothing to change is given");
  checkIdentity(values, (name) => given.has(name));
  checkCommon({ ...values, spiffeID: given.has("spiffeID") ? values.spiffeID : "-" });
  const mask = { ...Object.fromEntries(named.map(([field]) => [field, true])) };
  const inputMask: EntryMask = { ...NO_FIELDS, ...mask, additionalAttributes: attributes };
  return { entries: [entryFrom(withoutBlanks(values))], inputMask };
}

const NO_FIELDS: EntryMask = {
  spiffeId: false,
  parentId: false,
  selectors: false,
  x509SvidTtl: false,
  federatesWith: false,
  admin: false,
  downstream: false,
  expiresAt: false,
  dnsNames: false,
  revisionNumber: false,
  storeSvid: false,
  jwtSvidTtl: false,
  hint: false,
  createdAt: false,
  additionalAttributes: false,
};

function checkIdentity(
  values: FlagValues<EntryFlags>,
  isWanted: (name: (typeof IDENTITY)[number]) => boolean,
): void {
  if (isWanted("selector") && values.selector.length === 0) {
    throw new Error("at least one selector is required");
  }
  if (isWanted("parentID") && values.parentID === "") throw new Error("a parent ID is required");
}

/** An empty name empties its list: `-dns ""`. */
function withoutBlanks(values: FlagValues<EntryFlags>): FlagValues<EntryFlags> {
  const isName = (name: string): boolean => name !== "";
  return {
    ...values,
    federatesWith: values.federatesWith.filter(isName),
    dns: values.dns.filter(isName),
  };
}

function entryFrom(values: FlagValues<EntryFlags>): Entry {
  const id = (text: string): Entry["spiffeId"] => (text === "" ? undefined : idMessage(text));
  return entryFromFlags(values, {
    parentId: id(values.parentID),
    spiffeId: id(values.spiffeID),
  });
}

/**
 * The API has no mask inside the attributes, so naming one of them would clear the others. In a whole update, to name one is to switch it
 * on, even as `-jwtSVIDIncludeJTI=false`: so it is in the reference.
 *
 * @returns the entry as it was, if it is there
 */
async function keepAttributes(
  { entry }: ServerConnection,
  asked: Entry,
  mask: EntryMask | undefined,
  given: ReadonlySet<string>,
): Promise<Entry | undefined> {
  const fetch = (): Promise<Entry> => entry("getEntry", { id: asked.id, outputMask: undefined });
  if (!ATTRIBUTES.some((name) => given.has(name))) {
    return mask === undefined ? fetch().catch(() => undefined) : undefined;
  }
  const words = "failed to fetch existing entry to merge additional attributes";
  const existing = await explained(words, fetch);
  const before = existing.additionalAttributes;
  const value = (name: string, now = false, was = false): boolean => {
    if (mask !== undefined) return given.has(name) ? now : was;
    return given.has(name) || was;
  };
  const now = asked.additionalAttributes;
  asked.additionalAttributes = {
    disableX509SvidPrefetch: value(
      ATTRIBUTES[0],
      now?.disableX509SvidPrefetch,
      before?.disableX509SvidPrefetch,
    ),
    jwtSvidIncludeJti: value(ATTRIBUTES[1], now?.jwtSvidIncludeJti, before?.jwtSvidIncludeJti),
  };
  return existing;
}

/** Names what a whole update took away without having been asked to. */
function tellCleared(before: Entry, after: Entry | undefined, io: Io): void {
  if (after === undefined) return;
  const isSet = (value: unknown): boolean =>
    Array.isArray(value) ? value.length > 0 : Boolean(value);
  const cleared: string[] = Object.entries(FIELDS).flatMap(([field, name]) => {
    const key = field as keyof typeof FIELDS;
    return isSet(before[key]) && !isSet(after[key]) ? [`-${name}`] : [];
  });
  const [was, is] = [before.additionalAttributes, after.additionalAttributes];
  if (was?.disableX509SvidPrefetch && !is?.disableX509SvidPrefetch)
    cleared.push(`-${ATTRIBUTES[0]}`);
  if (was?.jwtSvidIncludeJti && !is?.jwtSvidIncludeJti) cleared.push(`-${ATTRIBUTES[1]}`);
  if (cleared.length === 0) return;
  io.err(
    `Warning: the entry was described anew, so what was not given is cleared: ${cleared.join(", ")}. To keep the rest, give only what changes.\n`,
  );
}
