import type { AgentConnection } from "#agent/workload-client/connection.ts";
import { type Command, defineLeaf } from "#cli/command.ts";
import { type Io, outputLost } from "#cli/io.ts";
import { failureText } from "#cli/rpc-error.ts";
import { systemClock } from "#clock/clock.ts";
import type { X509SVIDResponse } from "#proto/spiffe/workload/workload.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { agentSocket, agentSocketOwner, SOCKET_FLAGS } from "./agent-command.ts";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;

export const watch: Command = defineLeaf({
  synopsis: "Prints the X509-SVIDs of the calling process whenever they change, until it is ended",
  flags: SOCKET_FLAGS,
  run: async ({ flags, io }) => {
    const { connectAgent } = await import("#agent/workload-client/connection.ts");
    try {
      const connection = connectAgent(
        agentSocket(flags, io),
        undefined,
        agentSocketOwner(flags, io),
      );
      return await Promise.race([watchForEver(connection, io), interrupted(), outputLost()]);
    } catch (error) {
      io.err(`${failureText(error)}\n`);
      return 1;
    }
  },
});

/** Rejects when the person at the terminal ends the watch. */
function interrupted(): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  process.once("SIGINT", () => {
    reject(new StatusError(StatusCode.CANCELLED, "context canceled"));
  });
  return promise;
}

/** Asks again, each time a second later, whenever the stream ends; only a request that can never succeed ends the watch. */
async function watchForEver({ workload }: AgentConnection, io: Io): Promise<never> {
  let last = systemClock.monotonicMs();
  let waitMs = 0;
  for (;;) {
    try {
      for await (const response of workload.stream((client, ...rest) =>
        client.fetchX509Svid({}, ...rest),
      )) {
        const now = systemClock.monotonicMs();
        await print(response, (now - last) / 1000, io);
        last = now;
        waitMs = 0;
      }
    } catch (error) {
      if (error instanceof StatusError && error.code === StatusCode.INVALID_ARGUMENT) throw error;
      io.err(`${failureText(error)}\n`);
    }
    waitMs = Math.min(waitMs + FIRST_WAIT_MS, LONGEST_WAIT_MS);
    await systemClock.sleep(waitMs);
  }
}

async function print(response: X509SVIDResponse, afterSeconds: number, io: Io): Promise<void> {
  const [{ parseSvids }, { svidsText }] = await Promise.all([
    import("#agent/workload-client/x509-svids.ts"),
    import("./svids-text.ts"),
  ]);
  const svids = parseSvids(response, systemClock.nowSeconds()).map((svid) => ({
    ...svid,
    hint: "",
  }));
  io.out(svidsText(svids, afterSeconds, (id) => id.replace("spiffe://", "")));
}
