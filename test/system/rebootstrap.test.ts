/** A server that comes back with other authorities: what an agent makes of it, with each rebootstrap mode. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { certificatesToPem } from "#x509/pem.ts";
import { make } from "#x509/pki.fixture.ts";
import { eventually } from "../support/process.ts";
import { Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const now = Math.floor(Date.now() / 1000);
const valid = { notBefore: now - 3600, notAfter: now + 24 * 3600 };
const stage = new Stage();
let server: TestServer;
let patient: TestAgent;
let following: TestAgent;
let byToken: TestAgent;
let ca: string;

/** An agent whose node proves itself by a certificate of its own. */
async function agentByCertificate(name: string, settings: string): Promise<TestAgent> {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const publicKeySpki = publicKey.export({ type: "spki", format: "der" });
  const leaf = await make({ ...valid, name, issuer: root, publicKeySpki });
  const directory = stage.room(name);
  const [certificate, key] = [join(directory, "node.pem"), join(directory, "node.key")];
  writeFileSync(certificate, certificatesToPem([leaf.certificate.der]));
  writeFileSync(key, privateKey.export({ type: "pkcs8", format: "pem" }));
  chmodSync(key, 0o600);
  return TestAgent.start(stage, "ours", server, {
    directory,
    settings: `${settings}
  experimental { sync_interval = "1s" }`,
    nodeAttestor: `NodeAttestor "x509pop" {
    plugin_data {
      private_key_path = "${key}"
      certificate_path = "${certificate}"
    }
  }`,
  });
}

const root = await make({ ...valid, name: "Corp Root", isCa: true });

interface StoredState {
  readonly bootstrap_use: number;
  readonly bootstrap_start_time: string;
  readonly connection_attempts: number;
}

const stateOf = (agent: TestAgent): StoredState =>
  JSON.parse(readFileSync(join(agent.directory, "data", "agent-data.json"), "utf8"));

/** The certificate that a workload of this user gets. */
async function fetchSvid(agent: TestAgent): Promise<X509Certificate> {
  const { code, stdout, stderr } = await agent.cli(["api", "fetch", "x509", "-output", "json"]);
  if (code !== 0) throw new Error(stderr);
  return new X509Certificate(Buffer.from(JSON.parse(stdout).svids[0].x509_svid, "base64"));
}

async function idsOf(agents: TestServer): Promise<string[]> {
  const { agents: listed } = await agents.json("agent", "list");
  return (listed as { id: { path: string } }[]).map(
    ({ id }) => `spiffe://${TRUST_DOMAIN}${id.path}`,
  );
}

async function entries(): Promise<void> {
  for (const id of await idsOf(server)) {
    await server.entry(`spiffe://${TRUST_DOMAIN}/db`, id, [`unix:uid:${process.getuid?.()}`]);
  }
}

beforeAll(async () => {
  ca = join(stage.directory, "ca.pem");
  writeFileSync(ca, certificatesToPem([root.certificate.der]));
  server = await TestServer.start(stage, "ours", {
    settings: "ratelimit { attestation = false }",
    plugins: `NodeAttestor "x509pop" {
    plugin_data {
      ca_bundle_path = "${ca}"
    }
  }`,
  });
  patient = await agentByCertificate("never", 'rebootstrap_mode = "never"');
  following = await agentByCertificate(
    "auto",
    'rebootstrap_mode = "auto"\n  rebootstrap_delay = "3s"',
  );
  byToken = await TestAgent.start(stage, "ours", server, {
    settings: 'rebootstrap_mode = "auto"\n  experimental { sync_interval = "1s" }',
  });
  await entries();
}, 60_000);

afterAll(() => stage.close(), 60_000);

test("a server with new authorities is joined anew after the delay by an agent that may, in the same process", async () => {
  const agents = [patient, following, byToken];
  const before = await Promise.all(
    agents.map((agent) => eventually("the first SVID", () => fetchSvid(agent))),
  );
  expect(byToken.daemon.lines.join("\n")).toContain("is not allowing it. Disabling");
  await server.daemon.stop();
  rmSync(join(server.directory, "data"), { recursive: true });
  const again = await TestServer.start(stage, "ours", {
    directory: server.directory,
    port: server.port,
    settings: "ratelimit { attestation = false }",
    plugins: `NodeAttestor "x509pop" {
    plugin_data {
      ca_bundle_path = "${ca}"
    }
  }`,
  });
  await following.daemon.line((line) => line.includes("ignoring for now"));
  expect(stateOf(following).bootstrap_start_time).not.toStartWith("0001");
  // The operator lays out the new bundle, in the same place.
  await again.bundleFile();
  await following.daemon.line((line) => line.includes("Successfully reattested node"));
  server = again;
  await entries();
  await eventually("an SVID of the new authority", async () => {
    const svid = await fetchSvid(following);
    return svid.serialNumber !== before[1]?.serialNumber || undefined;
  });
  expect(stateOf(following)).toMatchObject({
    bootstrap_use: 2,
    bootstrap_start_time: "0001-01-01T00:00:00Z",
    connection_attempts: 0,
  });
  expect(await idsOf(server)).toHaveLength(1);
  // Those that may not go on with what they have, and say why.
  for (const [agent, svid] of [
    [patient, before[0]],
    [byToken, before[2]],
  ] as const) {
    expect((await fetchSvid(agent)).serialNumber).toBe(svid?.serialNumber ?? "");
    expect(agent.daemon.lines.join("\n")).toContain("certificate signed by unknown authority");
    expect(agent.daemon.lines.join("\n")).not.toContain("reattested");
  }
}, 120_000);

test("an agent that must be able to rebootstrap, and cannot, does not start", async () => {
  const agent = await TestAgent.prepare(stage, "ours", server, {
    settings: 'rebootstrap_mode = "always"',
  });
  const daemon = agent.launch();
  expect(await daemon.exited).toBe(1);
  expect(daemon.lines.join("\n")).toContain("you have requested rebootstrap support but");
}, 60_000);
