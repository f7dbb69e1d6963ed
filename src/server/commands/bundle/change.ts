import type { Command } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { goQuote } from "#cli/go-text.ts";
import { readInputFile } from "#cli/input-file.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { bundleFormat, formatFlag } from "./format.ts";

export const bundleSet: Command = serverCommand({
  synopsis: "Stores the trust bundle of a federated trust domain",
  flags: {
    id: stringFlag("The trust domain that the bundle is of"),
    path: stringFlag("The file with the bundle; standard input when not given"),
    format: formatFlag("What the file holds"),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    if (flags.id === "") throw new Error("id flag is required");
    const format = bundleFormat(flags.format);
    const path = flags.path === "" ? "-" : flags.path;
    const text = await explained("unable to load bundle data", () => readInputFile(path, io));
    const { bundleMessage } = await import("./bundle-text.ts");
    const message = bundleMessage(text, format, flags.id);
    const { bundle } = await server();
    const answer = await explained("failed to set federated bundle", () =>
      bundle("batchSetFederatedBundle", { bundle: [message], outputMask: undefined }),
    );
    printMessages(io, flags.output, [answer], () => {
      const { code = 0, message: problem = "" } = answer.results[0]?.status ?? {};
      if (code !== 0) throw new Error(`failed to set federated bundle: ${problem}`);
      io.out("bundle set.\n");
    });
  },
});

/** How to treat entries that name the trust domain, by the API's numbers. */
const MODES = { restrict: 0, delete: 1, dissociate: 2 } as const;

export const bundleDelete: Command = serverCommand({
  synopsis: "Deletes the trust bundle of a federated trust domain",
  flags: {
    id: stringFlag("The trust domain that the bundle is of"),
    mode: stringFlag(
      "With entries that federate with it: restrict (refuse), delete (them too), or dissociate (them from it)",
      "restrict",
    ),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    if (flags.id === "") throw new Error("id is required");
    const mode = deleteMode(flags.mode);
    const { bundle } = await server();
    const answer = await explained("failed to delete federated bundle", () =>
      bundle("batchDeleteFederatedBundle", { trustDomains: [flags.id], mode }),
    );
    printMessages(io, flags.output, [answer], () => {
      const [result] = answer.results;
      const { code = 0, message = "" } = result?.status ?? {};
      if (code !== 0) {
        const name = goQuote(result?.trustDomain ?? "");
        throw new Error(`failed to delete federated bundle ${name}: ${message}`);
      }
      io.out("bundle deleted.\n");
    });
  },
});

function deleteMode(word: string): (typeof MODES)[keyof typeof MODES] {
  if (word === "") return MODES.restrict;
  if (!Object.hasOwn(MODES, word)) throw new Error(`unsupported mode ${goQuote(word)}`);
  return MODES[word as keyof typeof MODES];
}
