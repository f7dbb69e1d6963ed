import type { Command } from "#cli/command.ts";
import { type FlagValues, switchFlag } from "#cli/flags.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import type { Entry } from "#proto/spire/api/types/entry.ts";
import { idMessage } from "#server/commands/id-message.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { readEntries } from "./entry-file.ts";
import { checkCommon, type EntryFlags, entryFlags, entryFromFlags } from "./entry-flags.ts";
import { fillRefused, printEntryResults } from "./print-results.ts";

const flags = {
  ...entryFlags("An ID for the entry; the server makes one up when not given"),
  node: switchFlag(
    "The entry is for nodes: it gives those with the selectors an alias, to be a parent ID",
  ),
  output: outputFlag(),
};

export const entryCreate: Command = serverCommand({
  synopsis: "Creates registration entries",
  flags,
  run: async ({ flags: given, io, server }) => {
    const entries = given.data === "" ? [fromFlags(given)] : await readEntries(given.data, io);
    const connection = await server();
    const answer = await connection.entry("batchCreateEntry", { entries, outputMask: undefined });
    fillRefused(answer.results, entries);
    const created = answer.results.flatMap(({ status, entry }) =>
      (status?.code ?? 0) === 0 && entry !== undefined ? [entry] : [],
    );
    const { warnOfEntries } = await import("./warnings.ts");
    await warnOfEntries(connection, created, io);
    printMessages(io, given.output, [answer], () => {
      printEntryResults(io, answer.results, "create");
    });
  },
});

function fromFlags(given: FlagValues<EntryFlags> & { readonly node: boolean }): Entry {
  if (given.selector.length === 0) throw new Error("at least one selector is required");
  if (given.node && given.federatesWith.length > 0) {
    throw new Error("node entries can not federate");
  }
  if (given.parentID === "" && !given.node) {
    throw new Error("a parent ID is required if the node flag is not set");
  }
  checkCommon(given);
  const spiffeId = idMessage(given.spiffeID);
  const parentId = given.node
    ? { trustDomain: spiffeId.trustDomain, path: "/spire/server" }
    : idMessage(given.parentID);
  return entryFromFlags(given, { spiffeId, parentId });
}
