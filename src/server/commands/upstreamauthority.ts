import type { Command } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import type { ServerConnection } from "#server/client/connection.ts";
import { serverCommand } from "./server-command.ts";

export const upstreamAuthorityTaint: Command = upstreamCommand({
  synopsis: "Marks an upstream authority as tainted, so that what is below it is replaced",
  verb: "taint",
  title: "Tainted",
  call: ({ localAuthority }, subjectKeyId) =>
    localAuthority("taintX509UpstreamAuthority", { subjectKeyId }),
});

export const upstreamAuthorityRevoke: Command = upstreamCommand({
  synopsis: "Takes a tainted upstream authority out of the trust bundle",
  verb: "revoke",
  title: "Revoked",
  call: ({ localAuthority }, subjectKeyId) =>
    localAuthority("revokeX509UpstreamAuthority", { subjectKeyId }),
});

function upstreamCommand({
  synopsis,
  verb,
  title,
  call,
}: {
  readonly synopsis: string;
  readonly verb: string;
  readonly title: string;
  call(
    connection: ServerConnection,
    subjectKeyId: string,
  ): Promise<{ readonly upstreamAuthoritySubjectKeyId: string }>;
}): Command {
  return serverCommand({
    synopsis,
    flags: {
      subjectKeyID: stringFlag(
        "The subject key ID of the upstream authority's certificate, in hex",
      ),
      output: outputFlag(),
    },
    run: async ({ flags, io, server }) => {
      if (flags.subjectKeyID === "") {
        throw new Error("the Subject Key ID of the X.509 upstream authority is required");
      }
      const connection = await server();
      const answer = await explained(`could not ${verb} X.509 upstream authority`, () =>
        call(connection, flags.subjectKeyID),
      );
      printMessages(io, flags.output, [answer], () => {
        io.out(`${title} X.509 upstream authority:\n`);
        io.out(`  Subject Key ID: ${answer.upstreamAuthoritySubjectKeyId}\n`);
      });
    },
  });
}
