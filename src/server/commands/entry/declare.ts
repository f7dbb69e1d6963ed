/** `entry plan` and `entry apply`: the entries of a directory, handed to the server as a set. The files are read here, not by the server. */
import type { Command } from "#cli/command.ts";
import { type Flag, type FlagValues, stringFlag, switchFlag } from "#cli/flags.ts";
import { type OutputFormat, outputFlag, printMessages } from "#cli/printer.ts";
import type { Entry } from "#proto/spire/api/types/entry.ts";
import type {
  Change,
  DeclaredEntry,
  Options,
  ReconcileEntriesRequest,
  Summary,
} from "#proto/spire_edge/declared/v1/declared.ts";
import type { ServerConnection } from "#server/client/connection.ts";
import { type ServerInvocation, serverCommand } from "#server/commands/server-command.ts";

/** Bytes of entries in one message: far from the four megabytes that a server takes. */
const MESSAGE_BYTES = 512 * 1024;
/** spire_edge.declared.v1.Change.Action.REMOVE, which the generated code is not loaded for. */
const CHANGE_REMOVE = 4;
/** As Terraform's `-detailed-exitcode`. */
const EXIT_DIFFERENT = 2;

interface SetFlags extends Record<string, Flag<unknown>> {
  readonly set: Flag<string>;
  readonly adopt: Flag<boolean>;
  readonly output: Flag<OutputFormat>;
}

const SET_FLAGS: SetFlags = {
  set: stringFlag(
    "The set that the entries make up; entries_dir is the one of the server's own directory",
    "default",
  ),
  adopt: switchFlag("Take over entries that are declared and were made by hand or in another set"),
  output: outputFlag(),
};

export const entryPlan: Command = serverCommand({
  synopsis: "Shows what applying the entries declared in a directory would change",
  operands: "DIR",
  flags: {
    ...SET_FLAGS,
    detailedExitCode: switchFlag("End with 2 when anything would change, with 0 when nothing"),
  },
  run: async (invocation) => {
    const { flags, exitWith } = invocation;
    const options = { set: flags.set, adopt: flags.adopt, dryRun: true, allowRemoval: false };
    const { changes } = await reconcile(invocation, options);
    if (flags.detailedExitCode && changes.length > 0) exitWith(EXIT_DIFFERENT);
  },
});

export const entryApply: Command = serverCommand({
  synopsis: "Makes the server's entries of a set what is declared in a directory",
  operands: "DIR",
  flags: {
    ...SET_FLAGS,
    allowRemoval: switchFlag("Let the set lose all of its entries, or more than half of them"),
  },
  run: async (invocation) => {
    const { set, adopt, allowRemoval } = invocation.flags;
    await reconcile(invocation, { set, adopt, allowRemoval, dryRun: false });
  },
});

type Invoked = Pick<ServerInvocation<SetFlags>, "operands" | "server" | "io"> & {
  readonly flags: Pick<FlagValues<SetFlags>, "output">;
};

interface Result {
  readonly changes: readonly Change[];
  readonly summary: Summary | undefined;
}

async function reconcile(
  { flags, operands, io, server }: Invoked,
  options: Options,
): Promise<Result> {
  const [directory = "", ...more] = operands;
  if (directory === "") throw new Error("a directory of declared entries is required");
  if (more.length > 0) {
    throw new Error(`one directory is wanted; flags go before it, not behind: ${more.join(" ")}`);
  }
  const { readDirectory } = await import("#server/declared/read-directory.ts");
  const { declared, warnings } = await readDirectory(directory, "anybody");
  for (const warning of warnings) io.err(`${warning}\n`);
  const connection = await server();
  const result = await send(connection, options, declared);
  const { warnOfEntries } = await import("./warnings.ts");
  await warnOfEntries(connection, result.changes.flatMap(coming), io);
  const { actionWord, planText } = await import("./plan-text.ts");
  const shown = {
    changes: result.changes.map((change) => ({ ...change, action: actionWord(change.action) })),
    summary: result.summary,
  };
  printMessages(io, flags.output, [shown], () => {
    io.out(planText(result.changes, result.summary, options.dryRun));
  });
  return result;
}

/** The entry that a change makes, or will make. */
function coming({ action, entry }: Change): Entry[] {
  return action === CHANGE_REMOVE || entry === undefined ? [] : [entry];
}

async function send(
  { declaredEntries }: ServerConnection,
  options: Options,
  declared: readonly DeclaredEntry[],
): Promise<Result> {
  const { DeclaredEntry: codec } = await import("#proto/spire_edge/declared/v1/declared.ts");
  const sizeOf = (one: DeclaredEntry): number => codec.encode(one).finish().length;
  const answers = declaredEntries((client, metadata, callOptions) => {
    const call = client.reconcileEntries(metadata, callOptions);
    // The error reaches whoever reads; without a listener it would end the process.
    call.on("error", () => {});
    for (const request of requestsOf(options, declared, sizeOf)) call.write(request);
    call.end();
    return call;
  });
  const changes: Change[] = [];
  let summary: Summary | undefined;
  for await (const answer of answers) {
    changes.push(...answer.changes);
    summary ??= answer.summary;
  }
  return { changes, summary };
}

function* requestsOf(
  options: Options,
  declared: readonly DeclaredEntry[],
  sizeOf: (one: DeclaredEntry) => number,
): Generator<ReconcileEntriesRequest> {
  let entries: DeclaredEntry[] = [];
  let bytes = 0;
  yield { options, entries: [] };
  for (const one of declared) {
    entries.push(one);
    bytes += sizeOf(one);
    if (bytes < MESSAGE_BYTES) continue;
    yield { options: undefined, entries };
    entries = [];
    bytes = 0;
  }
  if (entries.length > 0) yield { options: undefined, entries };
}
