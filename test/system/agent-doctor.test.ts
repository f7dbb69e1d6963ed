/** `spire-agent doctor` beside real agents, each with something else that is wrong. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Finished, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer } from "../support/spire.ts";

const stage = new Stage();
let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
}, 60_000);
afterAll(() => stage.close(), 60_000);

function doctor(agent: TestAgent, ...words: string[]): Promise<Finished> {
  const command = [executable("ours", "spire-agent"), "doctor", "-config", agent.configuration];
  return run([...command, ...words]);
}

interface Finding {
  readonly check: string;
  readonly level: string;
  readonly message: string;
}

async function problems(agent: TestAgent): Promise<readonly Finding[]> {
  const told = await doctor(agent, "-output", "json");
  const { findings } = JSON.parse(told.stdout) as { readonly findings: readonly Finding[] };
  const wrong = findings.filter(({ level }) => level !== "OK");
  expect(told.code).toBe(wrong.some(({ level }) => level === "FAIL") ? 1 : 0);
  return wrong;
}

const named = (findings: readonly Finding[]): string[] =>
  findings.map(({ check, level }) => `${level} ${check}`);

test("an agent in order has no problem, running or not, and its server's clock is compared", async () => {
  const admin = join(stage.room("admin"), "private", "admin.sock");
  const agent = await TestAgent.start(stage, "ours", server, {
    settings: `admin_socket_path = "${admin}"`,
    unix: "discover_workload_path = true",
  });
  const told = await doctor(agent);
  expect(told.code).toBe(0);
  const checks = [...told.stdout.matchAll(/^OK +(\w+)/gm)].map(([, check]) => check);
  expect(new Set(checks)).toEqual(
    new Set([
      ...["configuration", "data_directory", "private_keys", "disk_space", "processes"],
      ...["agent_svid", "server", "clock", "socket", "admin_socket", "health"],
    ]),
  );
  expect(told.stdout).toContain(`127.0.0.1:${server.port} answers, and is trusted`);
  expect(told.stdout).toMatch(/the server's clock is this machine.s, as far as can be told/);
  expect(told.stdout).toContain("sees what programs all users run");
  await agent.daemon.stop();
  const before = readdirSync(join(agent.directory, "data"));
  expect(named(await problems(agent))).toEqual([
    ...["FAIL socket", "FAIL admin_socket", "FAIL health"],
  ]);
  expect(readdirSync(join(agent.directory, "data"))).toEqual(before);
}, 60_000);

test("files open to others, an identity without its key, and a server that is another", async () => {
  const agent = await TestAgent.start(stage, "ours", server);
  const data = (name: string): string => join(agent.directory, "data", name);
  chmodSync(data("agent-data.json"), 0o644);
  expect(named(await problems(agent))).toEqual(["FAIL private_keys"]);
  chmodSync(data("agent-data.json"), 0o600);
  const stranger = await TestServer.start(stage, "ours");
  const text = readFileSync(agent.configuration, "utf8");
  writeFileSync(agent.configuration, text.replaceAll(String(server.port), String(stranger.port)));
  writeFileSync(data("keys.json"), '{"keys":{}}', { mode: 0o600 });
  const found = await problems(agent);
  expect(named(found)).toEqual(["FAIL agent_svid", "FAIL server"]);
  expect(found[0]?.message).toContain("is stored without its key");
  expect(found[1]?.message).toContain(`127.0.0.1:${stranger.port} cannot be asked`);
}, 60_000);

test("an agent that never joined, of a configuration with a mistake", async () => {
  const agent = await TestAgent.prepare(stage, "ours", server);
  expect(named(await problems(agent))).toEqual([
    ...["WARN agent_svid", "WARN server", "FAIL socket", "FAIL health"],
  ]);
  const text = readFileSync(agent.configuration, "utf8");
  writeFileSync(agent.configuration, text.replace("server_port", "server_prot"));
  const [mistake, missing] = await problems(agent);
  expect(mistake?.message).toContain("server_port must be configured");
  expect(missing?.message).toContain('key "server_prot"');
}, 60_000);

test("a server of the reference does not tell its time", async () => {
  const reference = await TestServer.start(stage, "reference");
  const agent = await TestAgent.start(stage, "ours", reference);
  const told = await doctor(agent);
  expect(told.code).toBe(0);
  expect(told.stdout).toContain("not compared: the server does not tell its time");
}, 60_000);
