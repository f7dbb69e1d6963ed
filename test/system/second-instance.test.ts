/** A second server or agent on the same data, port or socket is turned away, and the first goes on as if nothing had been. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { eventually } from "../support/process.ts";
import { Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const stage = new Stage();
let server: TestServer;
let agent: TestAgent;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
  agent = await TestAgent.start(stage, "ours", server);
  await server.entry(`spiffe://${TRUST_DOMAIN}/me`, agent.id, ["unix:uid:1"]);
}, 60_000);

afterAll(() => stage.close(), 60_000);

/** The first instances still answer, on the very sockets that the second ones wanted. */
async function firstOnesWork(): Promise<void> {
  expect((await server.cli("healthcheck")).code).toBe(0);
  await eventually("the workload is served", async () => {
    const fetched = await agent.cli(["api", "fetch", "x509"], { uid: 1 });
    return fetched.code === 0 ? true : undefined;
  });
}

async function refusedServer(change: (configuration: string) => string): Promise<string> {
  const other = await TestServer.prepare(stage, "ours");
  const text = readFileSync(other.configuration, "utf8");
  writeFileSync(other.configuration, change(text));
  const daemon = other.launch();
  expect(await daemon.exited).toBe(1);
  return daemon.lines.join("\n");
}

test("a server on the same data directory names the process that has it", async () => {
  const said = await refusedServer((text) =>
    text.replaceAll(/\S*\/data\b/g, (path) =>
      path.replace(/\/tmp\/.*/, `${server.directory}/data`),
    ),
  );
  expect(said).toContain(`process ${server.daemon.pid}`);
  await firstOnesWork();
});

test("a server on the same port", async () => {
  const said = await refusedServer((text) =>
    text.replace(/bind_port = \d+/, `bind_port = ${server.port}`),
  );
  expect(said).toContain(`127.0.0.1:${server.port}`);
  await firstOnesWork();
});

test("a server on the same socket leaves the socket to the first", async () => {
  const said = await refusedServer((text) =>
    text.replace(/socket_path = "[^"]*"/, `socket_path = "${server.socket}"`),
  );
  expect(said).toContain(`another process is listening on ${server.socket}`);
  await firstOnesWork();
});

test("an agent on the same data directory", async () => {
  const other = await TestAgent.prepare(stage, "ours", server);
  const text = readFileSync(other.configuration, "utf8");
  writeFileSync(
    other.configuration,
    text.replaceAll(`${other.directory}/data`, `${agent.directory}/data`),
  );
  const daemon = other.launch();
  expect(await daemon.exited).toBe(1);
  expect(daemon.lines.join("\n")).toContain(`process ${agent.daemon.pid}`);
  await firstOnesWork();
});

test("an agent on the same socket leaves the socket to the first", async () => {
  const other = await TestAgent.prepare(stage, "ours", server);
  const text = readFileSync(other.configuration, "utf8");
  writeFileSync(other.configuration, text.replace(other.socket, agent.socket));
  const daemon = other.launch();
  expect(await daemon.exited).toBe(1);
  expect(daemon.lines.join("\n")).toContain(`another process is listening on ${agent.socket}`);
  await firstOnesWork();
});

test("a socket that a dead agent left behind is replaced", async () => {
  await agent.daemon.kill();
  await agent.start();
  await firstOnesWork();
}, 60_000);
