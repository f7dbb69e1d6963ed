import type { Command } from "#cli/command.ts";
import { durationFlag, repeatedFlag, stringFlag } from "#cli/flags.ts";
import { goQuote } from "#cli/go-text.ts";
import { rfc3339 } from "#cli/go-time.ts";
import type { Io } from "#cli/io.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { explained } from "#cli/rpc-error.ts";
import { systemClock } from "#clock/clock.ts";
import { errorText } from "#spiffe/status-error.ts";
import { idMessage } from "./id-message.ts";
import { ttlSeconds } from "./int32.ts";
import { serverCommand } from "./server-command.ts";

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
    tellCap(token, flags.ttl, io);
    if (flags.write === "") {
      printMessages(io, flags.output, [answer], () => io.out(`${token}\n`));
      return;
    }
    const { PRIVATE_MODE, writeResult } = await import("./write-file.ts");
    await writeResult(flags.write, token, PRIVATE_MODE, "token");
    io.out(`JWT-SVID written to ${flags.write}\n`);
  },
});

function tellCap(token: string, ttl: number, io: Io): void {
  try {
    const end = expiryOf(token);
    if (end - systemClock.nowMs() / 1000 >= ttl) return;
    const shown = goQuote(rfc3339(end));
    io.err(`JWT-SVID lifetime was capped shorter than specified ttl; expires ${shown}\n`);
  } catch (error) {
    io.err(`Unable to determine JWT-SVID lifetime: ${errorText(error)}\n`);
  }
}

/** The `exp` claim, for showing only: nothing in the token is verified here. */
function expiryOf(token: string): number {
  const payload = Buffer.from(token.split(".")[1] ?? "", "base64url").toString();
  const claims: unknown = JSON.parse(payload);
  if (typeof claims !== "object" || claims === null || !("exp" in claims)) {
    throw new Error("no expiry claim");
  }
  if (typeof claims.exp !== "number") throw new Error("the expiry claim is not a number");
  return claims.exp;
}
