/** A server that is away for longer than half of an SVID's life, and comes back: no workload notices. */
import { afterAll, expect, test } from "bun:test";
import { Stage, TestAgent, TestServer } from "../support/spire.ts";
import { EnduringPair } from "./enduring-pair.ts";

const TTL_SECONDS = { x509: 40, jwt: 40 };
const OUTAGE_SECONDS = 24;

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

test.concurrent.each(["ours", "reference"] as const)(
  "server of %s away for more than half of an SVID's life",
  async (implementation) => {
    const server = await TestServer.start(stage, implementation);
    const agent = await TestAgent.start(stage, "ours", server);
    const pair = await EnduringPair.start(stage, server, agent, TTL_SECONDS);
    await server.daemon.stop();
    await Bun.sleep(OUTAGE_SECONDS * 1000);
    expect(pair.ledgers.caller.svids).toBe(1);
    await server.start();
    await pair.until("new SVIDs", ({ svids, failures }) => svids > 1 || failures > 0);
    const ledgers = await pair.stop();
    for (const { kept, expired } of Object.values(ledgers)) {
      expect({ kept, expired }).toEqual({ kept: [], expired: 0 });
    }
  },
  120_000,
);
