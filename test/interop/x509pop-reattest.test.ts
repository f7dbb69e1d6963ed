/** Agents that attest again by certificate: at half of their SVID's life, with a certificate that was renewed, when they are evicted. */
import { afterAll, describe, expect, test } from "bun:test";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { make } from "#x509/pki.fixture.ts";
import { REFUSED } from "../support/joining-node.ts";
import {
  ecKey,
  hex,
  type Node,
  node,
  pem,
  pkcs8,
  plugin,
  root,
  selectorsOf,
  shown,
  valid,
} from "../support/nodes.ts";
import { eventually } from "../support/process.ts";
import {
  type Implementation,
  Stage,
  TestAgent,
  TestServer,
  TRUST_DOMAIN,
} from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

const pairs: readonly { readonly server: Implementation; readonly agent: Implementation }[] = [
  { server: "ours", agent: "ours" },
  { server: "reference", agent: "ours" },
  { server: "ours", agent: "reference" },
];

/** A node known by its name, so that it stays the same agent with another certificate. */
async function startServer(implementation: Implementation, agentTtl: string): Promise<TestServer> {
  const bundle = join(stage.directory, "ca.pem");
  writeFileSync(bundle, pem([root.certificate]));
  return TestServer.start(stage, implementation, {
    settings: `agent_ttl = "${agentTtl}"\n  ratelimit { attestation = false }`,
    plugins: `NodeAttestor "x509pop" {
    plugin_data {
      ca_bundle_path = "${bundle}"
      agent_path_template = "/host/{{ .Subject.CommonName }}"
    }
  }`,
  });
}

const ID = `spiffe://${TRUST_DOMAIN}/spire/agent/host/node-1`;

interface Started {
  readonly agent: TestAgent;
  /** Puts another certificate and key in place, as a renewal does. */
  renew(one: Node): void;
}

async function startAgent(
  implementation: Implementation,
  server: TestServer,
  one: Node,
): Promise<Started> {
  const directory = stage.room("node");
  const files = ({ privateKey, chain }: Node): Record<string, string> => ({
    private_key_path: pkcs8(privateKey),
    certificate_path: pem(chain),
  });
  const agent = await TestAgent.start(stage, implementation, server, {
    directory,
    nodeAttestor: plugin(directory, files(one)),
    settings: 'experimental { sync_interval = "1s" }',
  });
  const renew = (other: Node): void => {
    for (const [key, content] of Object.entries(files(other))) {
      writeFileSync(join(directory, "new"), content);
      renameSync(join(directory, "new"), join(directory, `${key}.pem`));
    }
  };
  return { agent, renew };
}

/** Waits until the server knows the node by that certificate. */
async function knownBy(server: TestServer, { chain }: Node): Promise<void> {
  const wanted = `x509pop:serialnumber:${hex(chain[0])}`;
  await eventually("the node is known by its new certificate", async () => {
    return (await selectorsOf(server, ID)).includes(wanted) || undefined;
  });
}

describe.each([...pairs])("server $server, agent $agent", (pair) => {
  test("at half of its SVID's life the agent attests again, with the certificate that is there then", async () => {
    const server = await startServer(pair.server, "14s");
    const { agent, renew } = await startAgent(pair.agent, server, await node());
    const before = await shown(server, ID);
    const renewed = await node();
    renew(renewed);
    await knownBy(server, renewed);
    const after = await shown(server, ID);
    expect(after.x509svid_serial_number).not.toBe(before.x509svid_serial_number);
    expect(after.can_reattest).toBe(true);
    expect((await server.json("agent", "count"))["count"]).toBe(1);
    expect((await agent.cli(["healthcheck"])).code).toBe(0);
    await agent.daemon.stop();
  }, 60_000);

  test("an agent that is evicted comes back by itself", async () => {
    const server = await startServer(pair.server, "1h");
    const one = await node();
    const { agent } = await startAgent(pair.agent, server, one);
    const before = await shown(server, ID);
    expect((await server.cli("agent", "evict", "-spiffeID", ID)).code).toBe(0);
    await knownBy(server, one);
    expect((await shown(server, ID)).x509svid_serial_number).not.toBe(
      before.x509svid_serial_number,
    );
    expect(agent.daemon.running).toBe(true);
    await agent.daemon.stop();
  }, 60_000);

  test("an agent that is banned ends, and is refused when it comes back", async () => {
    const server = await startServer(pair.server, "1h");
    const { agent } = await startAgent(pair.agent, server, await node());
    expect((await server.cli("agent", "ban", "-spiffeID", ID)).code).toBe(0);
    const code = pair.agent === "ours" ? REFUSED : 1;
    expect(await agent.daemon.exited).toBe(code);
    const again = agent.launch();
    expect(await again.exited).toBe(code);
    expect(again.lines.join("\n")).toContain("failed to attest: agent is banned");
  }, 60_000);
});

test.concurrent("a certificate that the server refuses leaves the agent at work, until it has one that is good", async () => {
  const server = await startServer("ours", "14s");
  const { agent, renew } = await startAgent("ours", server, await node());
  const stranger = await make({ ...valid, name: "Stranger", isCa: true });
  renew(await node({ issuer: stranger }, ecKey("P-256"), [stranger]));
  await agent.daemon.line((line) => line.includes("certificate verification failed"));
  expect((await agent.cli(["healthcheck"])).code).toBe(0);
  const good = await node();
  renew(good);
  await knownBy(server, good);
  await agent.daemon.stop();
}, 60_000);

test.concurrent("a key that does not fit its certificate yet, as in the middle of a renewal, is tried again", async () => {
  const server = await startServer("ours", "14s");
  const one = await node();
  const { agent, renew } = await startAgent("ours", server, one);
  renew({ ...one, privateKey: ecKey("P-256").privateKey });
  await agent.daemon.line((line) => line.includes("does not match the certificate"));
  const good = await node();
  renew(good);
  await knownBy(server, good);
  await agent.daemon.stop();
}, 60_000);
