import type { Command } from "#cli/command.ts";
import { secondsFlag, stringFlag } from "#cli/flags.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { idMessage } from "#server/commands/id-message.ts";
import { int32 } from "#server/commands/int32.ts";
import { JOIN_WORD_FLAGS, openJoinWordMaker, printJoinWord } from "#server/commands/join-word.ts";
import { serverCommand } from "#server/commands/server-command.ts";
import { agentNamed } from "./known-agent.ts";

/** Not in the reference: there, a node that joined by token and lost its SVID needs a new agent ID, and new entries. */
export const agentRejoin: Command = serverCommand({
  synopsis: "Makes a join token by which a known agent joins again, with the SPIFFE ID it has",
  flags: {
    spiffeID: stringFlag("The SPIFFE ID of the agent that joins again, or an alias of it"),
    ttl: secondsFlag("How long the token is good for, in seconds or as 1h30m", 600),
    ...JOIN_WORD_FLAGS,
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    if (flags.spiffeID === "") throw new Error("a SPIFFE ID is required");
    idMessage(flags.spiffeID);
    const ttl = int32(flags.ttl, "TTL");
    const connection = await server();
    const agentId = await agentNamed(connection, flags.spiffeID);
    const maker = await openJoinWordMaker(connection, flags);
    const token = await connection.joinToken("createRejoinToken", { agentId, ttl });
    if (maker !== undefined) await printJoinWord(io, flags.output, token, maker);
    else printMessages(io, flags.output, [token], () => io.out(`Token: ${token.value}\n`));
  },
});
