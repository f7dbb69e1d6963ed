/** Agents of the reference go on when our server comes back from its backup. */
import { afterAll, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { backUp, freshMachine, restore } from "../support/backups.ts";
import { eventually } from "../support/process.ts";
import { Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

const idOf = (name: string): string => `spiffe://${TRUST_DOMAIN}/${name}`;

async function serial(server: TestServer): Promise<string> {
  const { agents } = await server.json("agent", "list");
  return (agents as { x509svid_serial_number: string }[])[0]?.x509svid_serial_number ?? "";
}

async function served(agent: TestAgent, name: string, without: string): Promise<void> {
  await eventually(`the workload has ${name}`, async () => {
    const { stdout } = await agent.cli(["api", "fetch", "x509"], { uid: 1 });
    return (stdout.includes(idOf(name)) && !stdout.includes(idOf(without))) || undefined;
  });
}

test("the SVID that it renewed since is good, and it takes the entries of the backup", async () => {
  const settings = `agent_ttl = "12s"`;
  const server = await TestServer.start(stage, "ours", { settings });
  const agent = await TestAgent.start(stage, "reference", server);
  const changed = await server.entry(idOf("before"), agent.id, ["unix:uid:1"]);
  await served(agent, "before", "after");
  const path = join(stage.room("backups"), "backup");
  await backUp(server, path);
  const inBackup = await serial(server);
  const parent = ["-parentID", agent.id, "-selector", "unix:uid:1"];
  await server.cli("entry", "update", "-entryID", changed, "-spiffeID", idOf("after"), ...parent);
  await served(agent, "after", "before");
  await eventually(
    "it renews its SVID",
    async () => (await serial(server)) !== inBackup || undefined,
  );
  await server.daemon.kill();
  rmSync(server.directory, { recursive: true });

  const next = await freshMachine(stage, server, settings);
  await restore(next, path);
  await next.start();
  await served(agent, "before", "after");
  expect(await serial(next)).not.toBe(inBackup);
  expect(agent.daemon.running).toBe(true);
}, 120_000);
