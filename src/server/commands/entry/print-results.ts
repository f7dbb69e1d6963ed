import { goQuote } from "#cli/go-text.ts";
import type { Io } from "#cli/io.ts";
import { codeName } from "#cli/rpc-error.ts";
import type { Entry } from "#proto/spire/api/types/entry.ts";
import type { Status } from "#proto/spire/api/types/status.ts";
import { entryBlock } from "./entry-block.ts";

interface EntryResult {
  status: Status | undefined;
  entry: Entry | undefined;
}

/** The server leaves out entries that it refused; the results then show what was asked for. */
export function fillRefused(results: readonly EntryResult[], asked: readonly Entry[]): void {
  for (const [index, result] of results.entries()) {
    if ((result.status?.code ?? 0) !== 0) result.entry = asked[index];
  }
}

/**
 * Prints the entries that went well on standard output, then the others on standard error.
 *
 * @param verb what was tried: create, update
 * @throws Error when any failed
 */
export function printEntryResults(io: Io, results: readonly EntryResult[], verb: string): void {
  const failed = results.filter(({ status }) => (status?.code ?? 0) !== 0);
  for (const { status, entry } of results) {
    if ((status?.code ?? 0) === 0 && entry !== undefined) io.out(entryBlock(entry));
  }
  for (const { status, entry } of failed) {
    const { code = 0, message = "" } = status ?? {};
    io.err(
      `Failed to ${verb} the following entry (code: ${codeName(code)}, msg: ${goQuote(message)}):\n`,
    );
    if (entry !== undefined) io.err(entryBlock(entry));
  }
  if (failed.length > 0) throw new Error(`failed to ${verb} one or more entries`);
}
