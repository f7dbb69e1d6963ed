/**
 * A node that changes the form of its certificate, but nothing that is signed: whoever has an ECDSA signature can make a second one that is as
 * good. It is the same node all the same, banned or not. And a certificate whose name reads like the ID of another's agent.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createX509popAgent } from "#attestors/x509pop/agent.ts";
import { systemRandom } from "#clock/random.ts";
import { Certificate } from "#x509/certificate.ts";
import { verifyChain } from "#x509/chain.ts";
import { type Made, make } from "#x509/pki.fixture.ts";
import { twinCertificates } from "#x509/twin.ts";
import { attestAt, type Outcome } from "../support/attest.ts";
import { ecKey, fingerprint, type Node, now, pem, shown, valid } from "../support/nodes.ts";
import { Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const PERMISSION_DENIED = 7;
const stage = new Stage();
const authorities: Made[] = [];
let plain: TestServer;
let templated: TestServer;

beforeAll(async () => {
  for (const keyType of ["ec-p256", "ec-p384"] as const) {
    authorities.push(await make({ ...valid, name: keyType, isCa: true, keyType }));
  }
  const bundle = join(stage.directory, "ca.pem");
  writeFileSync(bundle, pem(authorities.map(({ certificate }) => certificate)));
  const start = (template = ""): Promise<TestServer> =>
    TestServer.start(stage, "ours", {
      settings: "ratelimit { attestation = false }",
      plugins: `NodeAttestor "x509pop" {
    plugin_data {
      ca_bundle_path = "${bundle}"
      ${template}
    }
  }`,
    });
  plain = await start();
  templated = await start(
    'agent_path_template = "/{{ if .DNSNames }}by-name/{{ .Subject.CommonName }}-{{ .Fingerprint }}{{ else }}{{ .Subject.CommonName }}{{ end }}"',
  );
}, 60_000);

afterAll(() => stage.close(), 60_000);

async function nodeBelow(issuer: Made, name: string, dns: readonly string[] = []): Promise<Node> {
  const { publicKey, privateKey } = ecKey("P-256");
  const publicKeySpki = publicKey.export({ type: "spki", format: "der" });
  const leaf = await make({ ...valid, name, issuer, publicKeySpki, dns: [...dns, "x.test"] });
  return { privateKey, chain: [leaf.certificate] };
}

/** The same node with the other form of its certificate. */
function twinOf({ privateKey, chain: [leaf] }: Node): Node {
  const found = twinCertificates(leaf!.der)
    .map((der) => Certificate.parse(der))
    .find((one) => {
      const roots = authorities.map(({ certificate }) => certificate);
      try {
        verifyChain({ leaf: one, intermediates: [], roots, atSeconds: now, usage: "any" });
        return true;
      } catch {
        return false;
      }
    });
  return { privateKey, chain: [found!] };
}

function attest(server: TestServer, { privateKey, chain }: Node): Promise<Outcome> {
  const certificates = chain.map(({ der }) => der);
  const identity = async () => ({ privateKey, certificates });
  return attestAt(server.port, createX509popAgent({ identity, random: systemRandom }));
}

const agentId = (path: string): string => `spiffe://${TRUST_DOMAIN}/spire/agent/${path}`;
const ban = async (server: TestServer, id: string): Promise<void> => {
  expect((await server.cli("agent", "ban", "-spiffeID", id)).code).toBe(0);
};

describe.each([0, 1])("certificate signed by authority %p", (at) => {
  test("a banned node does not come back under the twin of its certificate", async () => {
    const one = await nodeBelow(authorities[at]!, "one");
    const twin = twinOf(one);
    expect(fingerprint(twin.chain[0])).not.toBe(fingerprint(one.chain[0]));
    const id = agentId(`x509pop/${fingerprint(one.chain[0])}`);
    expect(await attest(plain, one)).toEqual({ id });
    await ban(plain, id);
    const refused = { code: PERMISSION_DENIED, message: "failed to attest: agent is banned" };
    expect(await attest(plain, twin)).toEqual(refused);
    expect(await attest(plain, one)).toEqual(refused);
  });

  test("a node is known by the form that it showed first", async () => {
    const one = await nodeBelow(authorities[at]!, "two");
    const twin = twinOf(one);
    const id = agentId(`x509pop/${fingerprint(twin.chain[0])}`);
    expect(await attest(plain, twin)).toEqual({ id });
    expect(await attest(plain, one)).toEqual({ id });
    // Forgotten, it is a new node in whichever form.
    expect((await plain.cli("agent", "evict", "-spiffeID", id)).code).toBe(0);
    const other = agentId(`x509pop/${fingerprint(one.chain[0])}`);
    expect(await attest(plain, one)).toEqual({ id: other });
    await ban(plain, other);
    expect(await attest(plain, twin)).toMatchObject({ code: PERMISSION_DENIED });
  });
});

test("both forms at once make one node, and a ban meanwhile holds", async () => {
  for (let round = 0; round < 5; round++) {
    const one = await nodeBelow(authorities[0]!, `race-${round}`);
    const forms = [one, twinOf(one)];
    const outcomes = await Promise.all(
      [...forms, ...forms, ...forms].map((form) => attest(plain, form)),
    );
    const ids = new Set(outcomes.map((outcome) => ("id" in outcome ? outcome.id : "refused")));
    expect(ids.size).toBe(1);
    const [id = ""] = ids;
    const [, ...after] = await Promise.all([
      ban(plain, id),
      ...[...forms, ...forms].map((form) => attest(plain, form)),
    ]);
    for (const outcome of after) {
      if ("id" in outcome) expect(outcome.id).toBe(id);
    }
    for (const form of forms) expect(await attest(plain, form)).toHaveProperty("code", 7);
  }
});

test("so it is with a path template that names the fingerprint", async () => {
  const one = await nodeBelow(authorities[0]!, "named");
  const id = agentId(`by-name/named-${fingerprint(one.chain[0])}`);
  expect(await attest(templated, one)).toEqual({ id });
  expect(await attest(templated, twinOf(one))).toEqual({ id });
  await ban(templated, id);
  expect(await attest(templated, twinOf(one))).toHaveProperty("code", PERMISSION_DENIED);
});

test("a name with slashes takes no agent from another attestor", async () => {
  const agent = await TestAgent.start(stage, "ours", templated);
  const path = agent.id.slice(agentId("").length);
  const { publicKey, privateKey } = ecKey("P-256");
  const publicKeySpki = publicKey.export({ type: "spki", format: "der" });
  const leaf = await make({ ...valid, name: path, issuer: authorities[0]!, publicKeySpki });
  const outcome = await attest(templated, { privateKey, chain: [leaf.certificate] });
  expect(outcome).toMatchObject({
    code: PERMISSION_DENIED,
    message: expect.stringContaining("was attested by join_token"),
  });
  expect((await shown(templated, agent.id)).attestation_type).toBe("join_token");
  expect((await agent.cli(["healthcheck"])).code).toBe(0);
});
