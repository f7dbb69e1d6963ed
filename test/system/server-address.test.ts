/** Where the server is, as operators write it: what is plain is taken, what is not is refused by its line, by `validate` and `run` alike. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer } from "../support/spire.ts";

const AGENT = executable("ours", "spire-agent");
const SERVER = executable("ours", "spire-server");
const stage = new Stage();
let server: TestServer;

beforeAll(async () => {
  server = await TestServer.prepare(stage, "ours");
  const text = readFileSync(server.configuration, "utf8");
  writeFileSync(
    server.configuration,
    text.replace('bind_address = "127.0.0.1"', 'bind_address = "[::]"'),
  );
  await server.start();
}, 60_000);

afterAll(() => stage.close(), 60_000);

test.each([
  ["[::1]", () => server.port],
  ["127.0.0.1:PORT", () => server.port],
  ["[::1]:PORT", () => undefined],
])(
  "%s is where the server is",
  async (address, port) => {
    const agent = await TestAgent.prepare(stage, "ours", server, {
      serverAddress: address.replace("PORT", String(server.port)),
    });
    if (port() === undefined) {
      const text = readFileSync(agent.configuration, "utf8");
      writeFileSync(agent.configuration, text.replace(/^ *server_port.*\n/m, ""));
    }
    await agent.start();
    expect(await run([AGENT, "validate", "-config", agent.configuration])).toMatchObject({
      code: 0,
    });
    await agent.daemon.stop();
  },
  60_000,
);

test.each([
  ["https://spire.example.org", 1, '"https://spire.example.org" is no address of a server'],
  ["spire.example.org:9", 1, "leave one out"],
  ["a b", 1, '"a b" is no address of a server'],
  ["spire.example.org", 70_000, "70000 is no port number"],
])("%s with port %p is refused by its line", async (serverAddress, serverPort, problem) => {
  const agent = await TestAgent.prepare(stage, "ours", server, { serverAddress, serverPort });
  for (const command of ["validate", "run"]) {
    const { code, stderr } = await run([AGENT, command, "-config", agent.configuration]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(problem) });
    expect(stderr).toContain(`${agent.configuration}:4: server_address: `);
  }
});

test("the same goes for the server above, and for what a server listens on", async () => {
  const upstream = `UpstreamAuthority "spire" {
    plugin_data {
      server_address = "https://up"
      server_port = 1
      workload_api_socket = "/none"
    }
  }`;
  const below = await TestServer.prepare(stage, "ours", { plugins: upstream });
  const text = readFileSync(below.configuration, "utf8");
  writeFileSync(below.configuration, text.replace('"127.0.0.1"', '"127.0.0.1:8081"'));
  for (const command of ["validate", "run"]) {
    const { code, stderr } = await run([SERVER, command, "-config", below.configuration]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/server\.conf:2: bind_address "127.0.0.1:8081" is no address/);
    expect(stderr).toMatch(/server\.conf:\d+: UpstreamAuthority "spire": server_address: /);
  }
});
