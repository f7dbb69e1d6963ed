import type { Command } from "#cli/command.ts";
import { stringFlag, switchFlag } from "#cli/flags.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { systemClock } from "#clock/clock.ts";
import { agentCommand } from "./agent-command.ts";

export const fetchX509: Command = agentCommand({
  synopsis: "Fetches the X509-SVIDs of the calling process",
  flags: {
    silent: switchFlag("Print nothing about the SVIDs"),
    write: stringFlag(
      "A directory to write SVIDs, keys and bundles to (optional; not with JSON output)",
    ),
    output: outputFlag(),
  },
  run: async ({ flags, io, agent }) => {
    const { workload } = await agent();
    const started = systemClock.monotonicMs();
    const { firstAnswer } = await import("#agent/workload-client/connection.ts");
    const response = await firstAnswer(
      workload.stream((client, ...rest) => client.fetchX509Svid({}, ...rest)),
    );
    const seconds = (systemClock.monotonicMs() - started) / 1000;
    if (flags.output === "json") {
      printMessages(io, "json", [response], () => undefined);
      return;
    }
    const [{ parseSvids }, { svidsText }] = await Promise.all([
      import("#agent/workload-client/x509-svids.ts"),
      import("./svids-text.ts"),
    ]);
    const svids = parseSvids(response, systemClock.nowSeconds());
    if (!flags.silent) io.out(svidsText(svids, seconds, (id) => id));
    if (flags.write !== "") {
      const { writeSvids } = await import("./write-svids.ts");
      await writeSvids(svids, flags.write, io);
    }
  },
});
