/** Servers that are not the server: an agent finds out before it sends its token, and gives up nothing. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:tls";
import { certificatesToPem, encodePem } from "#x509/pem.ts";
import { eventually } from "../support/process.ts";
import { Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const stage = new Stage();
const opened: Server[] = [];
let server: TestServer;
let other: TestServer;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
  other = await TestServer.start(stage, "ours");
}, 60_000);

afterAll(async () => {
  for (const one of opened) one.close();
  await stage.close();
}, 60_000);

/** Listens on a port of its own with an SVID that the given server minted. */
async function impostor(minter: TestServer, id: string): Promise<number> {
  const minted = await minter.json("x509", "mint", "-spiffeID", id);
  const chain = (minted["x509_svid"] as string[]).map((der) => Buffer.from(der, "base64"));
  const listening = createServer(
    {
      key: encodePem("PRIVATE KEY", Buffer.from(String(minted["private_key"]), "base64")),
      cert: certificatesToPem(chain),
      ALPNProtocols: ["h2"],
    },
    (socket) => socket.on("error", () => {}),
  );
  opened.push(listening);
  const { promise, resolve } = Promise.withResolvers<void>();
  listening.listen(0, "127.0.0.1", resolve);
  await promise;
  const address = listening.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** Starts an agent that trusts `server` and is sent to another port; gives what it says. */
async function agentSentTo(port: number): Promise<{ agent: TestAgent; said: string }> {
  const agent = await TestAgent.prepare(stage, "ours", server);
  const text = readFileSync(agent.configuration, "utf8");
  writeFileSync(agent.configuration, text.replace(/server_port = \d+/, `server_port = ${port}`));
  const daemon = agent.launch();
  const said = await daemon.line(
    (line) => line.includes("Failed to attest") || line.includes("failed to attest"),
  );
  await daemon.stop();
  return { agent, said };
}

/** What the agent holds to be its identity. */
function storedSvid(agent: TestAgent): unknown {
  return JSON.parse(readFileSync(`${agent.directory}/data/agent-data.json`, "utf8")).svid;
}

test("a workload of the same trust domain, with a valid SVID, is not the server", async () => {
  const port = await impostor(server, `spiffe://${TRUST_DOMAIN}/impostor`);
  const { agent, said } = await agentSentTo(port);
  expect(said).not.toBe("");
  expect(storedSvid(agent)).toBeNull();
  // The token is still good: it never left the agent.
  const joined = await TestAgent.start(stage, "ours", server, { token: agent.token });
  expect((await joined.cli(["healthcheck"])).code).toBe(0);
}, 60_000);

test("another server of the same name, with another authority, is not the server", async () => {
  const { agent, said } = await agentSentTo(other.port);
  expect(said).not.toBe("");
  expect(storedSvid(agent)).toBeNull();
}, 60_000);

test("the reason is told", async () => {
  const port = await impostor(server, `spiffe://${TRUST_DOMAIN}/impostor`);
  const agent = await TestAgent.prepare(stage, "ours", server);
  const text = readFileSync(agent.configuration, "utf8");
  writeFileSync(agent.configuration, text.replace(/server_port = \d+/, `server_port = ${port}`));
  const daemon = agent.launch();
  await eventually("the reason", async () =>
    daemon.lines.some((line) => line.includes("unexpected server ID")) ? true : undefined,
  );
  await daemon.stop();
}, 60_000);
