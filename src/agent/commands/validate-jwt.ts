import type { Command } from "#cli/command.ts";
import { stringFlag } from "#cli/flags.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { mapJson } from "#cli/proto-json.ts";
import { failureText } from "#cli/rpc-error.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { agentCommand } from "./agent-command.ts";

export const validateJwt: Command = agentCommand({
  synopsis: "Has the agent check a JWT-SVID",
  flags: {
    audience: stringFlag("Whom the JWT-SVID must be for"),
    svid: stringFlag("The JWT-SVID"),
    output: outputFlag(),
  },
  run: async ({ flags, io, agent }) => {
    if (flags.audience === "") throw new Error("audience must be specified");
    if (flags.svid === "") throw new Error("svid must be specified");
    const { workload } = await agent();
    const answer = await judged(() =>
      workload.call("validateJwtsvid", { audience: flags.audience, svid: flags.svid }),
    );
    printMessages(io, flags.output, [answer], () => {
      const claims = mapJson(answer.claims ?? {});
      io.out(`SVID is valid.\nSPIFFE ID : ${answer.spiffeId}\nClaims    : ${claims}\n`);
    });
  },
});

/** Tells a JWT-SVID that is not valid from a question that could not be asked. */
async function judged<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    const invalid = error instanceof StatusError && error.code === StatusCode.INVALID_ARGUMENT;
    throw new Error(
      invalid
        ? `SVID is not valid: ${error.message}`
        : `unable to validate JWT SVID: ${failureText(error)}`,
      { cause: error },
    );
  }
}
