/** What an agent listens on when its configuration takes APIs away. */
import { afterAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { eventually, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer } from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

test("with both public APIs disabled there is the admin socket alone, beside where the other would be", async () => {
  const server = await TestServer.start(stage, "ours");
  const directory = stage.room("agent");
  const adminSocket = join(directory, "public", "admin.sock");
  const agent = await TestAgent.prepare(stage, "ours", server, {
    directory,
    settings: `admin_socket_path = "${adminSocket}"
  disable_workload_api = true
  disable_sds_api = true`,
  });
  agent.launch();
  const words = [executable("ours", "spire-agent"), "debug", "getinfo", "-socketPath", adminSocket];
  const shown = await eventually("the admin socket answers", async () => {
    const answer = await run(words);
    return answer.code === 0 ? answer.stdout : undefined;
  });
  expect(shown).toContain(`SPIFFE ID:  ${agent.id}`);
  expect(existsSync(agent.socket)).toBe(false);
}, 60_000);
