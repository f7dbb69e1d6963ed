import type { Command } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { goQuote } from "#cli/go-text.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { explained, failureText } from "#cli/rpc-error.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

export const federationDelete: Command = serverCommand({
  synopsis: "Deletes the federation relationship with a trust domain; its bundle stays",
  flags: {
    id: stringFlag("The trust domain, by its SPIFFE ID or name"),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    if (flags.id === "") throw new Error("id is required");
    const { trustDomain } = await server();
    const answer = await explained("failed to delete federation relationship", () =>
      trustDomain("batchDeleteFederationRelationship", { trustDomains: [flags.id] }),
    );
    printMessages(io, flags.output, [answer], () => {
      const [result] = answer.results;
      const { code = 0, message = "" } = result?.status ?? {};
      if (code !== 0) {
        const name = goQuote(result?.trustDomain ?? "");
        throw new Error(`failed to delete federation relationship ${name}: ${message}`);
      }
      io.out("federation relationship deleted.\n");
    });
  },
});

export const federationRefresh: Command = serverCommand({
  synopsis: "Fetches the trust bundle of a federated trust domain now",
  flags: {
    id: stringFlag("The trust domain, by its SPIFFE ID or name"),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    if (flags.id === "") throw new Error("id is required");
    const { trustDomain } = await server();
    try {
      await trustDomain("refreshBundle", { trustDomain: flags.id });
    } catch (error) {
      if (error instanceof StatusError && error.code === StatusCode.NOT_FOUND) {
        const name = goQuote(flags.id);
        throw new Error(`there is no federation relationship with trust domain ${name}`);
      }
      throw new Error(`failed to refresh bundle: ${failureText(error)}`, { cause: error });
    }
    printMessages(io, flags.output, [{ code: 0, message: "OK" }], () =>
      io.out("Bundle refreshed\n"),
    );
  },
});
