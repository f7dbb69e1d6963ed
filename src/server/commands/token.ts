import type { Command } from "#cli/command.ts";
import { intFlag, stringFlag } from "#cli/flags.ts";
import { outputFlag, printMessages } from "#cli/printer.ts";
import { idMessage } from "./id-message.ts";
import { int32 } from "./int32.ts";
import { serverCommand } from "./server-command.ts";

export const tokenGenerate: Command = serverCommand({
  synopsis: "Makes a join token, with which one agent can join once",
  flags: {
    ttl: intFlag("How long the token is good for, in seconds", 600),
    spiffeID: stringFlag("A further SPIFFE ID for the node that joins with the token (optional)"),
    output: outputFlag(),
  },
  run: async ({ flags, io, server }) => {
    const agentId = flags.spiffeID === "" ? undefined : idMessage(flags.spiffeID);
    const ttl = int32(flags.ttl, "TTL");
    const { agent } = await server();
    const token = await agent("createJoinToken", { ttl, token: "", agentId });
    printMessages(io, flags.output, [token], () => {
      io.out(`Token: ${token.value}\n`);
      if (agentId === undefined) io.out("Warning: Missing SPIFFE ID.\n");
    });
  },
});
