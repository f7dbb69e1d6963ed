/** A data directory of one trust domain under a configuration of another: neither daemon goes on with it, and both say what is in the way. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer } from "../support/spire.ts";

const stage = new Stage();
let server: TestServer;
let agent: TestAgent;
/** Of the other trust domain. */
let other: TestServer;

beforeAll(async () => {
  [server, other] = await Promise.all([
    TestServer.start(stage, "ours"),
    TestServer.start(stage, "ours", { trustDomain: "other.org" }),
  ]);
  agent = await TestAgent.start(stage, "ours", server);
  await agent.daemon.stop();
}, 60_000);

afterAll(() => stage.close(), 60_000);

/** How a daemon ends with its trust domain changed, and nothing else. */
async function ends(name: "spire-server" | "spire-agent", path: string): Promise<string> {
  const changed = `${path}.other`;
  writeFileSync(changed, readFileSync(path, "utf8").replace("example.org", "other.org"));
  const command = [executable("ours", name), "run", "-config", changed];
  const { code, stdout, stderr } = await run(command, { timeoutMs: 30_000 });
  // The units of the packages do not start an agent again that ends so.
  expect(code).toBe(name === "spire-agent" ? 77 : 1);
  return stdout + stderr;
}

test("the server names its CA, both trust domains and the way out, and changes nothing", async () => {
  await server.daemon.stop();
  const said = await ends("spire-server", server.configuration);
  expect(said).toContain('is of trust domain "example.org" (CA spiffe://example.org)');
  expect(said).toContain('trust_domain is "other.org": set trust_domain to "example.org", or give');
  await server.start();
});

test("so it does where nodes or entries alone tell", async () => {
  const memory = 'KeyManager "memory" { plugin_data {} }';
  const one = await TestServer.start(stage, "ours", { keyManager: memory });
  const create = ["entry", "create", "-parentID", "spiffe://example.org/a", "-selector", "a:b"];
  expect((await one.cli(...create, "-spiffeID", "spiffe://example.org/b")).code).toBe(0);
  await one.daemon.stop();
  const database = join(one.directory, "data/datastore.sqlite3");
  const { Database } = await import("bun:sqlite");
  using db = new Database(database);
  db.run("DELETE FROM ca_journal");
  db.close();
  const said = await ends("spire-server", one.configuration);
  expect(said).toContain("(entry spiffe://example.org/b)");
});

test("an agent names the files that are in the way, and joins once they are gone", async () => {
  const said = await ends("spire-agent", agent.configuration);
  const data = join(agent.directory, "data");
  expect(said).toContain('data is of trust domain "example.org", trust_domain is "other.org"');
  expect(said).toContain(`${join(data, "agent-data.json")} and ${join(data, "keys.json")}`);
  // By a join word as well.
  const word = await other.cli("token", "generate", "-join", "-serverAddress", "127.0.0.1");
  const words = ["-dataDir", data, "-join", word.stdout.trim(), "-socketPath", agent.socket];
  const command = [executable("ours", "spire-agent"), "run", ...words];
  const refused = await run(command, { timeoutMs: 30_000 });
  expect(refused.code).toBe(77);
  expect(refused.stdout + refused.stderr).toContain("move away");
  for (const name of ["agent-data.json", "keys.json"]) {
    expect(existsSync(join(data, name))).toBe(true);
    renameSync(join(data, name), join(agent.directory, name));
  }
  const daemon = stage.daemon(command, join(agent.directory, "agent.log"));
  await daemon.line((line) => line.includes("Node attestation was successful"));
  await daemon.stop();
});
