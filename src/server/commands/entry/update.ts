import type { Command } from "#cli/command.ts";
import { type FlagValues, presenceFlag } from "#cli/flags.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import type { Entry } from "#grpc/gen/spire/api/types/entry.ts";
import { idMessage } from "#server/commands/id-message.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { readEntries } from "./entry-file.ts";
import { checkCommon, type EntryFlags, entryFlags, entryFromFlags } from "./entry-flags.ts";
import { fillRefused, printEntryResults } from "./print-results.ts";

const flags = {
  ...entryFlags("The ID of the entry to replace", presenceFlag),
  output: outputFlag(),
};

/** The update replaces the whole entry: what is not given on the command line is cleared. */
export const entryUpdate: Command = serverCommand({
  synopsis: "Replaces registration entries",
  flags,
  run: async ({ flags: given, io, server }) => {
    const entries = given.data === "" ? [fromFlags(given)] : await readEntries(given.data, io);
    const { entry } = await server();
    const [only] = entries;
    if (given.data === "" && only?.additionalAttributes !== undefined) {
      const existing = await explained(
        "failed to fetch existing entry to merge additional attributes",
        () => entry("getEntry", { id: given.entryID, outputMask: undefined }),
      );
      keepAttributes(only, existing);
    }
    const answer = await entry("batchUpdateEntry", {
      entries,
      inputMask: undefined,
      outputMask: undefined,
    });
    fillRefused(answer.results, entries);
    printMessages(io, given.output, [answer], () => {
      printEntryResults(io, answer.results, "update");
    });
  },
});

function fromFlags(given: FlagValues<EntryFlags>): Entry {
  if (given.entryID === "") throw new Error("entry ID is required");
  if (given.selector.length === 0) throw new Error("at least one selector is required");
  if (given.parentID === "") throw new Error("a parent ID is required");
  checkCommon(given);
  const parentId = idMessage(given.parentID);
  return entryFromFlags(given, { parentId, spiffeId: idMessage(given.spiffeID) });
}

/** The API has no mask inside the attributes, so naming one of them would clear the others. */
function keepAttributes(entry: Entry, existing: Entry): void {
  const asked = entry.additionalAttributes;
  const before = existing.additionalAttributes;
  entry.additionalAttributes = {
    disableX509SvidPrefetch:
      asked?.disableX509SvidPrefetch === true || before?.disableX509SvidPrefetch === true,
    jwtSvidIncludeJti: asked?.jwtSvidIncludeJti === true || before?.jwtSvidIncludeJti === true,
  };
}
