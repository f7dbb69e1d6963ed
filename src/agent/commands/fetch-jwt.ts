import type { Command } from "#cli/command.ts";
import { commaListFlag, stringFlag } from "#cli/flags.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { agentCommand } from "./agent-command.ts";

export const fetchJwt: Command = agentCommand({
  synopsis: "Fetches JWT-SVIDs of the calling process, and the keys that verify JWT-SVIDs",
  flags: {
    audience: commaListFlag("Whom the JWT-SVIDs are for, separated by commas"),
    spiffeID: stringFlag("Only the JWT-SVID with this SPIFFE ID (optional)"),
    // -format is the old name of -output.
    output: outputFlag(["format"]),
  },
  run: async ({ flags, io, agent }) => {
    const audience = flags.audience.filter((one) => one !== "");
    if (audience.length === 0) throw new Error("audience must be specified");
    const { workload } = await agent();
    const { firstAnswer } = await import("#agent/workload-client/connection.ts");
    const bundles = await firstAnswer(
      workload.stream((client, ...rest) => client.fetchJwtBundles({}, ...rest)),
    );
    const svids = await workload.call("fetchJwtsvid", {
      audience,
      spiffeId: flags.spiffeID,
    });
    printMessages(io, flags.output, [svids, bundles], () => {
      for (const { spiffeId, svid, hint } of svids.svids) {
        io.out(`token(${spiffeId}):\n\t${svid}\n`);
        if (hint !== "") io.out(`hint(${spiffeId}):\n\t${hint}\n`);
      }
      const sorted = Object.entries(bundles.bundles).sort(([a], [b]) => (a < b ? -1 : 1));
      for (const [id, keys] of sorted) {
        io.out(`bundle(${id}):\n\t${new TextDecoder().decode(keys)}\n`);
      }
    });
  },
});
