/** A node whose clock is wrong is told that, and not only that a certificate is not valid. */
import { afterAll, expect, test } from "bun:test";
import { SteppedClock } from "../endurance/stepped-clock.ts";
import { run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer } from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

test.each([
  [-600, "this machine's clock is 10 minutes behind the server's: the server's certificate is"],
  [
    30 * 24 * 3600,
    "this machine's clock is 30 days ahead of the server's: the server's certificate",
  ],
])(
  "%d seconds ahead, an agent says so when it cannot join",
  async (seconds, words) => {
    const server = await TestServer.start(stage, "ours");
    const clock = await SteppedClock.make(stage.room("clock"));
    clock.set(seconds);
    const agent = await TestAgent.prepare(stage, "ours", server, { env: clock.env });
    const daemon = agent.launch();
    const line = await daemon.line((text) => text.includes("Failed to attest, will retry"));
    expect(line).toContain(words);
    await daemon.kill();
    await server.daemon.stop();
  },
  90_000,
);

test("on one machine, doctor finds no difference that is not there", async () => {
  const server = await TestServer.start(stage, "ours");
  const agent = await TestAgent.start(stage, "ours", server);
  const words = [executable("ours", "spire-agent"), "doctor", "-config", agent.configuration];
  for (let look = 0; look < 5; look++) {
    const { stdout } = await run(words);
    expect(stdout).toMatch(
      /OK +clock .*the server's clock is this machine's, as far as can be told/,
    );
  }
  await agent.daemon.stop();
  await server.daemon.stop();
}, 60_000);
