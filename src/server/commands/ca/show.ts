import type { Command } from "#cli/command.ts";
import { utcTime } from "#cli/go-time.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import type { Authority, PendingRequest, State } from "#proto/spire_edge/ca/v1/ca.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { authorityText } from "./authority-text.ts";

export const caShow: Command = serverCommand({
  synopsis:
    "Shows the X.509 authorities with their dates, and the request that waits for a signature",
  flags: { output: outputFlag() },
  run: async ({ flags, io, server }) => {
    const { ca } = await server();
    const state = await explained("could not get the X.509 authorities", () => ca("getState", {}));
    printMessages(io, flags.output, [state], () => {
      const part = (title: string, authority: Authority | undefined): string =>
        `${title} X.509 authority:\n${authority === undefined ? "  None\n" : authorityText(authority)}`;
      io.out(
        [
          part("Active", state.active),
          `${part("Prepared", state.prepared)}${takesOver(state)}`,
          part("Old", state.old),
          `Pending request:\n${pendingText(state)}`,
        ].join("\n"),
      );
    });
  },
});

function takesOver({ prepared }: State): string {
  if (prepared === undefined || prepared.activatesAt === 0) return "";
  return `  Takes over at: ${utcTime(prepared.activatesAt)}\n`;
}

function pendingText({ pending, nextRequestAt }: State): string {
  if (pending !== undefined) return requestText(pending);
  return nextRequestAt === 0
    ? "  None\n"
    : `  None\n  The next one is made at: ${utcTime(nextRequestAt)}\n`;
}

function requestText({ authorityId, csrPath, requestedAt, neededBy }: PendingRequest): string {
  const needed = neededBy === 0 ? "now" : utcTime(neededBy);
  return [
    `Authority ID: ${authorityId}`,
    `Requested at: ${utcTime(requestedAt)}`,
    `Needed by: ${needed}`,
    `Request at: ${csrPath}`,
  ]
    .map((line) => `  ${line}\n`)
    .join("");
}
