import type { Command } from "#cli/command.ts";
import { intFlag } from "#cli/flags.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { agentCommand } from "./agent-command.ts";

export const explain: Command = agentCommand({
  synopsis: "Tells why a process gets the identities it gets, and no others",
  flags: {
    pid: intFlag(
      "The process to explain, asked for on the admin socket; without it the calling process explains itself, on the public one",
    ),
    output: outputFlag(),
  },
  usesAdminSocket: ({ pid }) => pid !== 0,
  run: async ({ flags, io, agent }) => {
    if (flags.pid < 0) throw new Error("-pid must be a process ID");
    const connection = await agent();
    const explanation = await connection.explain("explainWorkload", { pid: flags.pid });
    const { explanationText, withStateNames } = await import("./explanation-text.ts");
    printMessages(io, flags.output, [withStateNames(explanation)], () =>
      io.out(explanationText(explanation)),
    );
  },
});
