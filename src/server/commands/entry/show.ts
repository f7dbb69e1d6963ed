import type { Command } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { counted } from "#cli/go-text.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import type { ListEntriesRequest_Filter } from "#proto/spire/api/server/entry/v1/entry.ts";
import type { Entry } from "#proto/spire/api/types/entry.ts";
import type { SPIFFEID } from "#proto/spire/api/types/spiffeid.ts";
import type { ServerConnection } from "#server/client/connection.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { compareSelectors, type Selector } from "#spiffe/selector.ts";
import { entryBlock } from "./entry-block.ts";
import { entryTable, type KnownEntry, originLines, withSets } from "./entry-table.ts";
import { entryFilter, FILTER_FLAGS } from "./filter.ts";

/** How many entries one answer may hold; together they stay below the message limit. */
const PAGE_SIZE = 500;

const flags = {
  ...FILTER_FLAGS,
  entryID: stringFlag("Only the entry with this ID; goes with no other filter"),
  output: outputFlag(),
};

export const entryShow: Command = serverCommand({
  synopsis: "Shows registration entries",
  flags,
  run: async ({ flags: given, io, server }) => {
    const { entryID, parentID, spiffeID, selector } = given;
    if (entryID !== "" && (parentID !== "" || spiffeID !== "" || selector.length > 0)) {
      throw new Error("the -entryID flag can't be combined with others");
    }
    const filter = entryID === "" ? await entryFilter(given) : undefined;
    const connection = await server();
    const found =
      filter === undefined
        ? [await fetchOne(connection, entryID)]
        : await fetchAll(connection, filter);
    sortEntries(found);
    // A script that reads text is shown nothing of it.
    const isShown = io.isTerminal || given.output === "json";
    const entries: KnownEntry[] = isShown ? await withSets(connection, found) : found;
    printMessages(io, given.output, [{ entries, nextPageToken: "" }], () => {
      if (io.isTerminal && filter !== undefined && entries.length > 0) {
        io.out(entryTable(entries));
        return;
      }
      io.out(`Found ${counted(entries.length, "entry", "entries")}\n`);
      for (const entry of entries) {
        const block = entryBlock(entry);
        io.out(io.isTerminal ? `${block.trimEnd()}\n${originLines(entry)}` : block);
      }
    });
  },
});

function fetchOne({ entry }: ServerConnection, id: string): Promise<Entry> {
  return explained(`error fetching entry ID ${id}`, () =>
    entry("getEntry", { id, outputMask: undefined }),
  );
}

async function fetchAll(
  { entry }: ServerConnection,
  filter: ListEntriesRequest_Filter,
): Promise<Entry[]> {
  const found: Entry[] = [];
  let pageToken = "";
  do {
    const request = { filter, outputMask: undefined, pageSize: PAGE_SIZE, pageToken };
    const page = await explained("error fetching entries", () => entry("listEntries", request));
    found.push(...page.entries);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return found;
}

/** By SPIFFE ID, parent ID, TTLs and selectors, so that the same entries always print alike. */
function sortEntries(entries: Entry[]): void {
  for (const entry of entries) entry.selectors.sort(compareSelectors);
  entries.sort(
    (a, b) =>
      compareIds(a.spiffeId, b.spiffeId) ||
      compareIds(a.parentId, b.parentId) ||
      a.x509SvidTtl - b.x509SvidTtl ||
      a.jwtSvidTtl - b.jwtSvidTtl ||
      compareSelectorLists(a.selectors, b.selectors),
  );
}

function compareIds(a: SPIFFEID | undefined, b: SPIFFEID | undefined): number {
  return (
    compareTexts(a?.trustDomain ?? "", b?.trustDomain ?? "") ||
    compareTexts(a?.path ?? "", b?.path ?? "")
  );
}

function compareSelectorLists(a: readonly Selector[], b: readonly Selector[]): number {
  if (a.length !== b.length) return a.length - b.length;
  for (const [index, selector] of a.entries()) {
    const order = compareSelectors(selector, b[index] ?? selector);
    if (order !== 0) return order;
  }
  return 0;
}

function compareTexts(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
