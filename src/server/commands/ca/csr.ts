import type { Command } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { utcTime } from "#cli/go-time.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import type { PendingRequest } from "#proto/spire_edge/ca/v1/ca.ts";
import { serverCommand } from "#server/commands/server-command.ts";

const DAY_SECONDS = 24 * 3600;

export const caCsr: Command = serverCommand({
  synopsis: "Prints the request for the server's CA that waits for a signature by hand",
  flags: {
    write: stringFlag("A file to write the request to instead of printing it"),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    const { ca } = await server();
    const request = await explained("could not get the request", () => ca("getRequest", {}));
    const { encodePem } = await import("#x509/pem.ts");
    const pem = encodePem("CERTIFICATE REQUEST", request.csr);
    if (flags.write !== "") {
      const { PUBLIC_MODE, writeResult } = await import("#server/commands/write-file.ts");
      await writeResult(flags.write, pem, PUBLIC_MODE, "request");
      io.err(instructions(request));
      io.out(`Request written to ${flags.write}\n`);
      return;
    }
    printMessages(io, flags.output, [request], () => {
      // The request alone is on standard output, so that it can be piped to whatever signs it.
      io.err(instructions(request));
      io.out(pem);
    });
  },
});

/** What the signer must see to; a request can ask for all of it, and signers copy none of it unless told to. */
function instructions(request: PendingRequest): string {
  const days = Math.floor(request.warnBefore / DAY_SECONDS);
  const ahead = days >= 2 ? `${days} days` : `${Math.floor(request.warnBefore / 3600)} hours`;
  const needed =
    request.neededBy === 0 ? "now: nothing is signed without it" : utcTime(request.neededBy);
  return [
    "What the signer must set:",
    `  Subject           : ${request.subject}, or another that the issuer does not have itself`,
    `  URI SAN           : ${request.uriSan}, and no other URI`,
    "  Basic constraints : critical, CA:TRUE; pathlen:0, unless servers are to be nested below this one",
    "  Key usage         : critical, keyCertSign, cRLSign; no extended key usage",
    `  Lifetime          : not beyond its issuer's. The next request comes at half of it, at most ${ahead} before its end`,
    "  Signature         : SHA-256 or better",
    `Needed by           : ${needed}`,
    "Then                : spire-server ca import -cert FILE -root FILE",
    "",
    "",
  ].join("\n");
}
