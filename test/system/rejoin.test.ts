/** A node that lost its disk joins again by an operator's word, and its workloads go on as before; tokens are taken back. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { closeClients, refused, remoteClients, unary } from "#server/server.fixture.ts";
import { identityOnDisk } from "../support/agent-identity.ts";
import { REFUSED } from "../support/joining-node.ts";
import { eventually } from "../support/process.ts";
import { Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const stage = new Stage();
let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
}, 60_000);

afterAll(() => stage.close(), 60_000);

/** Waits until both entries are served to the workload. */
async function served(agent: TestAgent): Promise<void> {
  await eventually("the workload has both identities", async () => {
    const { stdout } = await agent.cli(["api", "fetch", "x509"], { uid: 1 });
    return stdout.includes("/by-alias") && stdout.includes("/by-agent") ? true : undefined;
  });
}

test("a node without its disk joins again, its entries are good, its former SVID is not", async () => {
  const alias = `spiffe://${TRUST_DOMAIN}/rack-1`;
  const agent = await TestAgent.prepare(stage, "ours", server, {
    token: await server.token("-spiffeID", alias),
  });
  await server.entry(`spiffe://${TRUST_DOMAIN}/by-alias`, alias, ["unix:uid:1"]);
  await server.entry(`spiffe://${TRUST_DOMAIN}/by-agent`, agent.id, ["unix:uid:1"]);
  await agent.start();
  await served(agent);
  const former = identityOnDisk(agent);
  await agent.daemon.stop();
  rmSync(join(agent.directory, "data"), { recursive: true });

  const given = await server.cli("agent", "rejoin", "-spiffeID", agent.id);
  const token = /^Token: (\S+)\n$/.exec(given.stdout)?.[1];
  const { directory } = agent;
  const again = await TestAgent.start(stage, "ours", server, { token: token ?? "", directory });
  await served(again);
  expect(await server.json("agent", "list")).toMatchObject({
    agents: [{ id: { path: new URL(agent.id).pathname } }],
  });
  const thief = remoteClients(`127.0.0.1:${server.port}`, former);
  const sync = unary((done) => thief.entry.getAuthorizedEntries({ outputMask: undefined }, done));
  expect(await refused(sync)).toMatchObject({ code: 7 });
  closeClients(thief);
}, 60_000);

test("what the commands print, and refuse", async () => {
  const nobody = `spiffe://${TRUST_DOMAIN}/spire/agent/join_token/nobody`;
  expect(await server.cli("agent", "rejoin", "-spiffeID", nobody)).toEqual({
    code: 1,
    stdout: "",
    stderr: "Error: rpc error: code = NotFound desc = agent not found\n",
  });
  expect(await server.cli("agent", "rejoin")).toEqual({
    code: 1,
    stdout: "",
    stderr: "Error: a SPIFFE ID is required\n",
  });
  const agent = await TestAgent.start(stage, "ours", server);
  const before = Math.floor(Date.now() / 1000);
  const given = await server.json("agent", "rejoin", "-spiffeID", agent.id, "-ttl", "60");
  expect(given).toEqual({ expires_at: expect.any(String), value: expect.any(String) });
  expect(Number(given["expires_at"])).toBeWithin(before + 60, before + 120);
  const deleted = await server.cli("token", "delete", "-spiffeID", agent.id);
  expect(deleted).toEqual({ code: 0, stdout: "Token deleted.\n", stderr: "" });
  expect(await server.cli("token", "delete", "-spiffeID", agent.id)).toEqual({
    code: 1,
    stdout: "",
    stderr:
      "Error: rpc error: code = NotFound desc = join token does not exist or has already been used\n",
  });
  expect(await server.cli("token", "delete")).toEqual({
    code: 1,
    stdout: "",
    stderr: "Error: either a file with the token or a SPIFFE ID is required\n",
  });
}, 60_000);

test("a token is taken back from standard input, and lets nobody in afterwards", async () => {
  const agent = await TestAgent.prepare(stage, "ours", server);
  const words = ["token", "delete", "-file", "-", "-output", "json"];
  const deleted = await server.cliOf("ours", words, { input: `${agent.token}\n` });
  expect(deleted).toEqual({ code: 0, stdout: "{}\n", stderr: "" });
  const daemon = agent.launch();
  expect(await daemon.exited).toBe(REFUSED);
  expect(daemon.lines.join("\n")).toContain("join token does not exist or has already been used");
}, 60_000);
