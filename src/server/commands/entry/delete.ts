import type { Command } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { goQuote } from "#cli/go-text.ts";
import type { Io } from "#cli/io.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { codeName } from "#cli/rpc-error.ts";
import type { BatchDeleteEntryResponse_Result } from "#proto/spire/api/server/entry/v1/entry.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { readEntryIds } from "./entry-file.ts";

export const entryDelete: Command = serverCommand({
  synopsis: "Deletes registration entries",
  flags: {
    entryID: stringFlag("The ID of the entry to delete"),
    file: stringFlag(
      "A JSON file {\"ids\": […]} with the IDs of entries to delete; '-' is standard input",
    ),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    if (flags.file === "" && flags.entryID === "") throw new Error("an entry ID is required");
    const ids = flags.file === "" ? [flags.entryID] : await readEntryIds(flags.file, io);
    const { entry } = await server();
    const answer = await entry("batchDeleteEntry", { ids });
    printMessages(io, flags.output, [answer], () => printDeleted(io, answer.results));
  },
});

/** The layout of the reference, to the letter: the summary is plural and has no line end. */
function printDeleted(io: Io, results: readonly BatchDeleteEntryResponse_Result[]): void {
  const failed = results.filter(({ status }) => (status?.code ?? 0) !== 0);
  const deleted = results.length - failed.length;
  for (const { id, status } of results) {
    if ((status?.code ?? 0) === 0) io.out(`Deleted entry with ID: ${id}\n`);
  }
  if (deleted > 0) io.out("\n\n");
  for (const { id, status } of failed) {
    const { code = 0, message = "" } = status ?? {};
    io.err(
      `Failed to delete entry with ID ${id} (code: ${codeName(code)}, msg: ${goQuote(message)})\n`,
    );
  }
  if (failed.length === 0) {
    io.out(`Deleted ${deleted} entries successfully`);
    return;
  }
  io.out(
    deleted === 0
      ? `\n\nFailed to delete ${failed.length} entries`
      : `\n\nDeleted ${deleted} entries successfully, but failed to delete ${failed.length} entries`,
  );
  throw new Error("failed to delete one or more entries");
}
