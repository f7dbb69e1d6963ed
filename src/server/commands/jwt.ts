import type { Command } from "#cli/command.ts";
import { durationFlag, repeatedFlag, stringFlag } from "#cli/flags.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import { idMessage } from "./id-message.ts";
import { ttlSeconds } from "./int32.ts";
import { serverCommand } from "./server-command.ts";
import { tellCap } from "./token-lifetime.ts";

export const jwtMint: Command = serverCommand({
  synopsis: "Issues a JWT-SVID for any SPIFFE ID, without a registration entry",
  flags: {
    spiffeID: stringFlag("The SPIFFE ID of the JWT-SVID"),
    ttl: durationFlag("How long it is to live; the server's default when not given"),
    audience: repeatedFlag("Who the JWT-SVID is for. Can be given several times"),
    write: stringFlag("A file to write the token to instead of printing it"),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    if (flags.spiffeID === "") throw new Error("spiffeID must be specified");
    if (flags.audience.length === 0) throw new Error("at least one audience must be specified");
    const request = {
      id: idMessage(flags.spiffeID),
      ttl: ttlSeconds(flags.ttl),
      audience: [...flags.audience],
    };
    const { svid } = await server();
    const answer = await explained("unable to mint SVID", () => svid("mintJwtsvid", request));
    const token = answer.svid?.token ?? "";
    if (token === "") throw new Error("server response missing token");
    tellCap("JWT-SVID", token, flags.ttl, io);
    if (flags.write === "") {
      printMessages(io, flags.output, [answer], () => io.out(`${token}\n`));
      return;
    }
    const { PRIVATE_MODE, writeResult } = await import("./write-file.ts");
    await writeResult(flags.write, token, PRIVATE_MODE, "token");
    io.out(`JWT-SVID written to ${flags.write}\n`);
  },
});
