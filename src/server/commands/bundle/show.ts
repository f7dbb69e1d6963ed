import type { Command } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { counted } from "#cli/go-text.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import type { Bundle } from "#proto/spire/api/types/bundle.ts";
import type { ServerConnection } from "#server/client/connection.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { bundleFormat, formatFlag } from "./format.ts";

export const bundleShow: Command = serverCommand({
  synopsis: "Prints the trust bundle of this server's trust domain",
  flags: {
    format: formatFlag("How to print the bundle when not as JSON"),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    const { bundle } = await server();
    const shown = await bundle("getBundle", { outputMask: undefined });
    const { bundleText } = await import("./bundle-text.ts");
    printMessages(io, flags.output, [shown], () => {
      io.out(bundleText(shown, bundleFormat(flags.format)));
    });
  },
});

const STARS = "*".repeat(40);

export const bundleList: Command = serverCommand({
  synopsis: "Prints the trust bundles of federated trust domains",
  flags: {
    id: stringFlag("Only the bundle of this trust domain"),
    format: formatFlag("How to print the bundles when not as JSON"),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    const connection = await server();
    const { bundleText } = await import("./bundle-text.ts");
    if (flags.id !== "") {
      const one = await connection.bundle("getFederatedBundle", {
        trustDomain: flags.id,
        outputMask: undefined,
      });
      printMessages(io, flags.output, [one], () => {
        io.out(bundleText(one, bundleFormat(flags.format)));
      });
      return;
    }
    const bundles = await listAll(connection);
    printMessages(io, flags.output, [{ bundles, nextPageToken: "" }], () => {
      const texts = bundles.map((one) => {
        const text = bundleText(one, bundleFormat(flags.format));
        return `${STARS}\n* ${one.trustDomain}\n${STARS}\n${text}`;
      });
      io.out(texts.join("\n"));
    });
  },
});

async function listAll({ bundle }: ServerConnection): Promise<Bundle[]> {
  const { bundles } = await bundle("listFederatedBundles", {
    outputMask: undefined,
    pageSize: 0,
    pageToken: "",
  });
  return bundles;
}

export const bundleCount: Command = serverCommand({
  synopsis: "Counts the trust bundles, this trust domain's own included",
  flags: { output: outputFlag() },
  run: async ({ flags, io, server }) => {
    const { bundle } = await server();
    const answer = await bundle("countBundles", {});
    printMessages(io, flags.output, [answer], () => {
      io.out(`${counted(answer.count, "bundle", "bundles")}\n`);
    });
  },
});
