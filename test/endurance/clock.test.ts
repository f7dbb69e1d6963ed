/** The server's clock is set forward and back under running agents and workloads: docs/TROUBLESHOOTING.md, "The clock". */
import { afterAll, expect, test } from "bun:test";
import { eventually } from "../support/process.ts";
import { Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";
import { EnduringPair } from "./enduring-pair.ts";
import { SteppedClock } from "./stepped-clock.ts";

const STEP_SECONDS = 300;
const HANDSHAKES = 100;
const HOUR = 3600;
const LIMIT_MS = 240_000;

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

interface Site {
  readonly clock: SteppedClock;
  readonly server: TestServer;
  readonly agent: TestAgent;
  readonly pair: EnduringPair;
}

async function build(ttl: { x509: number; jwt: number }, settings = ""): Promise<Site> {
  const clock = await SteppedClock.make(stage.room("clock"));
  const server = await TestServer.start(stage, "ours", { env: clock.env, settings });
  const agent = await TestAgent.start(stage, "ours", server);
  const pair = await EnduringPair.start(stage, server, agent, ttl);
  return { clock, server, agent, pair };
}

/** Goes on for so many handshakes more; none of them, and nothing else, may fail. */
async function expectPeace(what: string, { pair }: Site): Promise<void> {
  const until = pair.ledgers.caller.handshakes + HANDSHAKES;
  await pair.until(what, ({ handshakes, failures }) => handshakes > until || failures > 0);
  for (const { kept, expired } of Object.values(pair.ledgers)) {
    expect({ what, kept, expired }).toEqual({ what, kept: [], expired: 0 });
  }
}

let lastUid = 1200;

/** The agent hears of a new entry; whether its SVID has begun yet is another matter. */
async function expectNews(what: string, { server, agent }: Site): Promise<void> {
  const uid = ++lastUid;
  const id = `spiffe://${TRUST_DOMAIN}/news-${uid}`;
  await server.entry(id, agent.id, [`unix:uid:${uid}`]);
  const arrived = async (): Promise<true | undefined> => {
    const fetched = await agent.cli(["api", "fetch", "x509"], { uid });
    return (fetched.stdout + fetched.stderr).includes(id) || undefined;
  };
  // An agent that was refused pauses between its tries.
  await eventually(`news, ${what}`, arrived, 90_000);
}

test.concurrent.each([STEP_SECONDS, -STEP_SECONDS])(
  "%d seconds ahead, restarted there, and set right: workloads go on",
  async (seconds) => {
    const site = await build({ x509: HOUR, jwt: HOUR });
    site.clock.set(seconds);
    await expectPeace("after the step", site);
    await expectNews("after the step", site);
    await site.server.daemon.stop();
    await site.server.start();
    await expectPeace("after the restart", site);
    site.clock.set(0);
    await expectNews("set right", site);
    await expectPeace("set right", site);
  },
  LIMIT_MS,
);

test.concurrent(
  "an SVID from the server's future waits until it begins",
  async () => {
    const site = await build({ x509: 60, jwt: HOUR });
    site.clock.set(40);
    const isOver = ({ svids, failures }: { svids: number; failures: number }): boolean =>
      svids > 1 || failures > 0;
    await site.pair.until("a new SVID", isOver, LIMIT_MS);
    await expectPeace("with the new SVID", site);
  },
  LIMIT_MS,
);

test.concurrent(
  "an agent whose SVID only the server finds expired stays, and goes on when the clock is right",
  async () => {
    const site = await build({ x509: HOUR, jwt: HOUR }, `agent_ttl = "4m"`);
    const from = site.agent.daemon.lines.length;
    site.clock.set(STEP_SECONDS);
    // Gives the agent something to ask for.
    await site.server.entry(`spiffe://${TRUST_DOMAIN}/late`, site.agent.id, ["unix:uid:1299"]);
    await site.agent.daemon.line((line) => line.includes("clocks is wrong"), 30_000, from);
    await expectPeace("while the server finds the agent expired", site);
    site.clock.set(0);
    await expectNews("the clock is right", site);
    await expectPeace("the clock is right", site);
  },
  LIMIT_MS,
);
