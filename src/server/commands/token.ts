import type { Command } from "#cli/command.ts";
import { secondsFlag, stringFlag } from "#cli/flags.ts";
import { readInputFile } from "#cli/input-file.ts";
import type { Io } from "#cli/io.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import type { DeleteJoinTokenRequest } from "#proto/spire_edge/jointoken/v1/jointoken.ts";
import { JoinWord } from "#spiffe/join-word.ts";
import { looksLikeJoinWord } from "#spiffe/secret-text.ts";
import { idMessage } from "./id-message.ts";
import { int32 } from "./int32.ts";
import { JOIN_WORD_FLAGS, openJoinWordMaker, printJoinWord } from "./join-word.ts";
import { serverCommand } from "./server-command.ts";

export const tokenGenerate: Command = serverCommand({
  synopsis: "Makes a join token, with which one agent can join once",
  flags: {
    ttl: secondsFlag("How long the token is good for, in seconds or as 1h30m", 600),
    spiffeID: stringFlag("A further SPIFFE ID for the node that joins with the token (optional)"),
    ...JOIN_WORD_FLAGS,
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    const agentId = flags.spiffeID === "" ? undefined : idMessage(flags.spiffeID);
    const ttl = int32(flags.ttl, "TTL");
    const connection = await server();
    const { agent } = connection;
    const maker = await openJoinWordMaker(connection, flags);
    const token = await agent("createJoinToken", { ttl, token: "", agentId });
    if (maker !== undefined) {
      await printJoinWord(io, flags.output, token, maker);
      if (agentId === undefined) io.err("Warning: Missing SPIFFE ID.\n");
      return;
    }
    printMessages(io, flags.output, [token], () => {
      io.out(`Token: ${token.value}\n`);
      if (agentId === undefined) io.out("Warning: Missing SPIFFE ID.\n");
    });
  },
});

/** The token is not a flag: whoever lists the machine's processes reads those. */
export const tokenDelete: Command = serverCommand({
  synopsis: "Makes a join token worthless that nobody used yet",
  flags: {
    file: stringFlag("A file that holds the token, or a join word; '-' is standard input"),
    spiffeID: stringFlag("Instead of the token: the SPIFFE ID of the agent that it lets in again"),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    const which = await readWhich(flags, io);
    const { joinToken } = await server();
    const answer = await joinToken("deleteJoinToken", { which });
    printMessages(io, flags.output, [answer], () => io.out("Token deleted.\n"));
  },
});

async function readWhich(
  { file, spiffeID }: { readonly file: string; readonly spiffeID: string },
  io: Io,
): Promise<NonNullable<DeleteJoinTokenRequest["which"]>> {
  if ((file === "") === (spiffeID === "")) {
    throw new Error("either a file with the token or a SPIFFE ID is required");
  }
  if (spiffeID !== "") return { $case: "agentId", value: idMessage(spiffeID) };
  const token = (await readInputFile(file, io)).trim();
  if (token === "") throw new Error("token file is empty");
  return { $case: "token", value: looksLikeJoinWord(token) ? JoinWord.parse(token).token : token };
}
