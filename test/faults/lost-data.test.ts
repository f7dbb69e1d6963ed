/** The data directory goes away under a running daemon: nothing is called stored that is lost, and whoever asks is told. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { eventually, type Finished, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const stage = new Stage();
let server: TestServer;
let agent: TestAgent;
let data: string;
let database: string;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
  agent = await TestAgent.start(stage, "ours", server);
  data = join(server.directory, "data");
  database = join(data, "datastore.sqlite3");
}, 60_000);

afterAll(() => stage.close(), 60_000);

let entries = 0;
function createEntry(): Promise<Finished> {
  entries += 1;
  const id = `spiffe://${TRUST_DOMAIN}/entry-${entries}`;
  const words = ["-parentID", agent.id, "-selector", "unix:uid:1", "-spiffeID", id];
  return server.cli("entry", "create", ...words);
}

/** What is stored is refused, and the server says that it is not healthy. */
async function isLost(problem: string): Promise<void> {
  const refused = await createEntry();
  expect(refused.code).toBe(1);
  expect(refused.stdout + refused.stderr).toContain("nothing can be stored");
  expect(refused.stdout + refused.stderr).toContain(problem);
  expect((await server.cli("healthcheck")).code).toBe(1);
}

test("a database that was replaced by a copy of itself takes no write, and the one that comes back does", async () => {
  expect((await createEntry()).code).toBe(0);
  renameSync(database, `${database}.away`);
  copyFileSync(`${database}.away`, database);
  await isLost("was replaced by another");
  await server.daemon.line((line) => line.includes("The data is lost to this server"));
  renameSync(`${database}.away`, database);
  expect((await createEntry()).code).toBe(0);
  expect((await server.cli("healthcheck")).code).toBe(0);
});

test("a deleted data directory of an agent makes it unhealthy; it serves on", async () => {
  await server.entry(`spiffe://${TRUST_DOMAIN}/root`, agent.id, ["unix:uid:0"]);
  const fetch = async (): Promise<true | undefined> =>
    (await agent.cli(["api", "fetch", "x509"])).code === 0 ? true : undefined;
  await eventually("it serves", fetch);
  const place = join(agent.directory, "data");
  renameSync(place, `${place}.away`);
  expect((await agent.cli(["healthcheck"])).code).toBe(1);
  expect(await fetch()).toBe(true);
  await agent.daemon.line((line) => line.includes("The agent's data is lost to it"));
  renameSync(`${place}.away`, place);
  expect((await agent.cli(["healthcheck"])).code).toBe(0);
});

test("a deleted data directory of a server: no write is lost without a word, and doctor says what a start would mean", async () => {
  rmSync(data, { recursive: true });
  await isLost("is gone");
  const doctor = [executable("ours", "spire-server"), "doctor", "-config", server.configuration];
  const { code, stdout } = await run(doctor);
  expect(code).toBe(1);
  expect(stdout).toContain("restore a backup before the daemon is started again");
  expect(stdout).toContain("says that it is not healthy");
});
