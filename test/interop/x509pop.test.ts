/** Nodes that attest by certificate: both agents at both servers with every kind of key, in both modes, and what is ours alone. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { KeyObject } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createX509popAgent } from "#attestors/x509pop/agent.ts";
import { systemRandom } from "#clock/random.ts";
import { certificatesToPem } from "#x509/pem.ts";
import { make } from "#x509/pki.fixture.ts";
import { attestAt } from "../support/attest.ts";
import {
  ecKey,
  fingerprint,
  hex,
  issuing,
  type KeyPair,
  node,
  pem,
  pkcs1,
  pkcs8,
  plugin,
  root,
  rsaKey,
  sec1,
  selectorsOf,
  shown,
  valid,
} from "../support/nodes.ts";
import { eventually, run } from "../support/process.ts";
import {
  type Implementation,
  Stage,
  TestAgent,
  TestServer,
  TRUST_DOMAIN,
} from "../support/spire.ts";

const both: readonly Implementation[] = ["ours", "reference"];
const pairs = both.flatMap((server) => both.map((agent) => ({ server, agent })));
const stage = new Stage();
const servers = new Map<Implementation, TestServer>();
const serverOf = (implementation: Implementation): TestServer => {
  const server = servers.get(implementation);
  if (server === undefined) throw new Error("not started");
  return server;
};
const bundle = join(stage.directory, "ca.pem");

beforeAll(async () => {
  writeFileSync(bundle, pem([root.certificate]));
  await Promise.all(
    both.map(async (implementation) => {
      const server = await TestServer.start(stage, implementation, {
        // The reference looks for new entries every five seconds.
        settings: `ratelimit { attestation = false }
  experimental { cache_reload_interval = "1s" }`,
        plugins: `NodeAttestor "x509pop" {
    plugin_data {
      ca_bundle_path = "${bundle}"
    }
  }`,
      });
      servers.set(implementation, server);
    }),
  );
}, 60_000);

afterAll(() => stage.close(), 60_000);

const kinds: readonly {
  readonly kind: string;
  readonly key: () => KeyPair;
  readonly form: (key: KeyObject) => string;
}[] = [
  { kind: "RSA of 2048 bits, PKCS#1", key: () => rsaKey(2048), form: pkcs1 },
  { kind: "P-256, SEC1", key: () => ecKey("P-256"), form: sec1 },
  { kind: "P-384, PKCS#8", key: () => ecKey("P-384"), form: pkcs8 },
  { kind: "P-521, PKCS#8", key: () => ecKey("P-521"), form: pkcs8 },
];

describe.each(pairs)("server $server, agent $agent", (pair) => {
  test.each([...kinds])(
    "a node with a key of $kind",
    async ({ key, form }) => {
      const server = serverOf(pair.server);
      const { privateKey, chain } = await node({ name: "host-7" }, key());
      const [leaf, ...above] = chain;
      const directory = stage.room("node");
      const agent = await TestAgent.start(stage, pair.agent, server, {
        directory,
        nodeAttestor: plugin(directory, {
          private_key_path: form(privateKey),
          certificate_path: pem(chain.slice(0, 1)),
          intermediates_path: pem(above),
        }),
      });
      const id = `spiffe://${TRUST_DOMAIN}/spire/agent/x509pop/${fingerprint(leaf)}`;
      const found = await shown(server, id);
      expect(found.attestation_type).toBe("x509pop");
      expect(found.can_reattest).toBe(true);
      expect(await selectorsOf(server, id)).toEqual(
        [
          `x509pop:ca:fingerprint:${fingerprint(issuing.certificate)}`,
          `x509pop:ca:fingerprint:${fingerprint(root.certificate)}`,
          `x509pop:serialnumber:${hex(leaf)}`,
          "x509pop:subject:cn:host-7",
        ].sort(),
      );
      await agent.daemon.stop();
    },
    60_000,
  );
});

describe.each([...both])("at the server of %s", (implementation) => {
  test("a node alias gathers nodes by their selectors", async () => {
    const server = serverOf(implementation);
    const alias = `spiffe://${TRUST_DOMAIN}/fleet/db`;
    const created = await server.cli(
      ...["entry", "create", "-node", "-spiffeID", alias],
      ...["-selector", "x509pop:subject:cn:db-1"],
    );
    expect(created.stderr + created.stdout).toContain(alias);
    await server.entry(`spiffe://${TRUST_DOMAIN}/db`, alias, ["unix:uid:0"]);
    const { privateKey, chain } = await node({ name: "db-1" });
    const directory = stage.room("node");
    const agent = await TestAgent.start(stage, "ours", server, {
      directory,
      settings: 'experimental { sync_interval = "1s" }',
      nodeAttestor: plugin(directory, {
        private_key_path: pkcs8(privateKey),
        certificate_path: pem(chain),
      }),
    });
    await eventually("the workload has its SVID", async () => {
      const fetched = await agent.cli(["api", "fetch", "x509"]);
      return fetched.stdout.includes(`spiffe://${TRUST_DOMAIN}/db`) || undefined;
    });
    await agent.daemon.stop();
  }, 60_000);
});

describe("an agent that is started again", () => {
  test.each([
    ["ours", "reference"],
    ["reference", "ours"],
  ] as const)(
    "as %s, then %s, goes on with the SVID it has",
    async (first, second) => {
      const server = serverOf("ours");
      const { privateKey, chain } = await node({ name: "again" });
      const directory = stage.room("node");
      const options = {
        directory,
        nodeAttestor: plugin(directory, {
          private_key_path: pkcs8(privateKey),
          certificate_path: pem(chain),
        }),
      };
      const before = await TestAgent.start(stage, first, server, options);
      const id = `spiffe://${TRUST_DOMAIN}/spire/agent/x509pop/${fingerprint(chain[0])}`;
      const serial = async (): Promise<unknown> =>
        (await server.json("agent", "show", "-spiffeID", id))["x509svid_serial_number"];
      const issued = await serial();
      await before.daemon.stop();
      const after = await TestAgent.start(stage, second, server, options);
      expect(await serial()).toBe(issued);
      await after.daemon.stop();
    },
    60_000,
  );
});

describe("ours, beyond the reference", () => {
  test("the certificate and key are in a PKCS#12 file", async () => {
    const { privateKey, chain } = await node({ name: "p12" });
    const directory = stage.room("node");
    const path = (name: string): string => join(directory, name);
    writeFileSync(path("key"), pkcs8(privateKey));
    writeFileSync(path("chain"), pem([...chain, root.certificate]));
    writeFileSync(path("password"), "correct horse\n");
    const made = await run([
      ...["openssl", "pkcs12", "-export", "-inkey", path("key"), "-in", path("chain")],
      ...["-passout", "pass:correct horse", "-out", path("node.p12")],
    ]);
    expect(made).toMatchObject({ code: 0 });
    const agent = await TestAgent.start(stage, "ours", serverOf("reference"), {
      directory,
      nodeAttestor: `NodeAttestor "x509pop" {
    plugin_data {
      pkcs12_file_path = "${path("node.p12")}"
      pkcs12_password_file = "${path("password")}"
    }
  }`,
    });
    await agent.daemon.stop();
  }, 60_000);

  test("a bundle that changes is read again", async () => {
    const late = await make({ ...valid, name: "Late Root", isCa: true });
    const one = await node({ issuer: late }, ecKey("P-256"), []);
    const attestor = createX509popAgent({
      identity: async () => ({
        privateKey: one.privateKey,
        certificates: one.chain.map((certificate) => certificate.der),
      }),
      random: systemRandom,
    });
    const { port } = serverOf("ours");
    expect(await attestAt(port, attestor)).toMatchObject({ code: 7 });
    const before = readFileSync(bundle, "utf8");
    writeFileSync(bundle, before + certificatesToPem([late.certificate.der]));
    expect(await attestAt(port, attestor)).toEqual({ id: expect.any(String) });
    writeFileSync(bundle, "damaged");
    expect(await attestAt(port, attestor)).toEqual({ id: expect.any(String) });
    writeFileSync(bundle, before);
    expect(await attestAt(port, attestor)).toMatchObject({ code: 7 });
  });
});

describe.each([...both])("mode spiffe, server %s", (implementation) => {
  let server: TestServer;
  let holder: TestAgent;

  beforeAll(async () => {
    server = await TestServer.start(stage, implementation, {
      settings: "ratelimit { attestation = false }",
      plugins: `NodeAttestor "x509pop" {\n    plugin_data {\n      mode = "spiffe"\n    }\n  }`,
    });
    holder = await TestAgent.start(stage, "ours", server);
    await server.entry(`spiffe://${TRUST_DOMAIN}/spire-exchange/rack/host`, holder.id, [
      "unix:uid:0",
    ]);
    await eventually("the node has an SVID", async () => {
      const { code } = await holder.cli(["api", "fetch", "x509"]);
      return code === 0 || undefined;
    });
  }, 60_000);

  test.each([...both])(
    "an agent of %s becomes what its SVID names",
    async (agentOf) => {
      const agent = await TestAgent.start(stage, agentOf, server, {
        nodeAttestor: `NodeAttestor "x509pop" {
    plugin_data {
      spiffe_endpoint_socket = "unix://${holder.socket}"
    }
  }`,
      });
      const id = `spiffe://${TRUST_DOMAIN}/spire/agent/x509pop/rack/host`;
      const { selectors, can_reattest: canReattest } = await shown(server, id);
      expect(canReattest).toBe(true);
      expect(selectors.map(({ value }) => value.replace(/[0-9a-f]{20,}/, "…")).sort()).toEqual([
        "ca:fingerprint:…",
        "serialnumber:…",
      ]);
      await agent.daemon.stop();
    },
    60_000,
  );
});
