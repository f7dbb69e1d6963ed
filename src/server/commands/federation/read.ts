import type { Command } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { counted } from "#cli/go-text.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { relationshipBlock } from "./relationship-block.ts";

export const federationShow: Command = serverCommand({
  synopsis: "Shows the federation relationship with a trust domain",
  flags: {
    trustDomain: stringFlag("The trust domain that the relationship is with"),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    if (flags.trustDomain === "") throw new Error("a trust domain name is required");
    const { trustDomain } = await server();
    const shown = await explained("error showing federation relationship", () =>
      trustDomain("getFederationRelationship", {
        trustDomain: flags.trustDomain,
        outputMask: undefined,
      }),
    );
    printMessages(io, flags.output, [shown], () => {
      io.out(`Found a federation relationship with trust domain ${flags.trustDomain}:\n\n`);
      io.out(relationshipBlock(shown));
    });
  },
});

export const federationList: Command = serverCommand({
  synopsis: "Lists the federation relationships that were made by command or API",
  flags: { output: outputFlag() },
  run: async ({ flags, io, server }) => {
    const { trustDomain } = await server();
    const listed = await explained("error listing federation relationship", () =>
      trustDomain("listFederationRelationships", {
        outputMask: undefined,
        pageSize: 0,
        pageToken: "",
      }),
    );
    printMessages(io, flags.output, [listed], () => {
      const { federationRelationships: found } = listed;
      const count = counted(found.length, "federation relationship", "federation relationships");
      io.out(`Found ${count}\n`);
      for (const one of found) io.out(`\n${relationshipBlock(one)}`);
    });
  },
});
