/** Roots that are older than today's rules, wherever a bundle may hold one; and authorities below a root that stand in the bundle beside it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Authorities } from "#upstream/disk/openssl.fixture.ts";
import { certificatesFromPem, certificatesToPem } from "#x509/pem.ts";
import { OLD_ROOTS, type OldRoot, oldRoot } from "../support/old-root.ts";
import { eventually, run } from "../support/process.ts";
import { Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const stage = new Stage();
const files = new Authorities();
const all = files.path("all.pem");
const roots: OldRoot[] = [];

beforeAll(async () => {
  for (const [, wish] of OLD_ROOTS) roots.push(await oldRoot(wish));
  writeFileSync(all, certificatesToPem(roots.map(({ der }) => der)));
}, 60_000);
afterAll(async () => {
  await stage.close();
  files.remove();
}, 60_000);

function disk(certificate: string, key: string, bundle: string): string {
  return `UpstreamAuthority "disk" {\n plugin_data {\n cert_file_path = "${certificate}"\n key_file_path = "${key}"\n bundle_file_path = "${bundle}"\n }\n }`;
}

async function minted(server: TestServer): Promise<string> {
  const answer = await server.cli("x509", "mint", "-spiffeID", `spiffe://${TRUST_DOMAIN}/w`);
  expect(answer.stderr).toBe("");
  const directory = stage.room("minted");
  writeFileSync(join(directory, "svid.pem"), answer.stdout.split("Private key:")[0] ?? "");
  return join(directory, "svid.pem");
}

describe("a root with", () => {
  test.each(OLD_ROOTS.map(([what], at) => [what, at] as const))(
    "%s signs a server's CA",
    async (_what, at) => {
      const { der, key } = roots[at]!;
      const certificate = files.write(`root-${at}.pem`, certificatesToPem([der]));
      const pem = String(key.export({ type: "pkcs8", format: "pem" }));
      const plugins = disk(certificate, files.write(`root-${at}.key`, pem), all);
      const server = await TestServer.start(stage, "ours", { plugins });
      const svid = await minted(server);
      expect(certificatesFromPem(await Bun.file(svid).text())).toHaveLength(2);
      await server.daemon.stop();
    },
    60_000,
  );
});

test("all of them are read wherever a bundle is", async () => {
  files.ca("own");
  const mixed = files.write("mixed.pem", files.read("own.pem"), files.read("all.pem"));
  const x509pop = `NodeAttestor "x509pop" {\n plugin_data {\n ca_bundle_path = "${all}"\n }\n }`;
  const server = await TestServer.start(stage, "ours", {
    plugins: `${disk(files.path("own.pem"), files.path("own.key"), mixed)}\n${x509pop}`,
  });
  const agent = await TestAgent.start(stage, "ours", server);
  for (const format of ["pem", "spiffe"]) {
    const shown = await server.cli("bundle", "show", "-format", format);
    expect(shown.code).toBe(0);
    const path = files.write(`shown.${format}`, shown.stdout);
    const id = `${format}.test`;
    const set = await server.cli("bundle", "set", "-id", id, "-path", path, "-format", format);
    expect(set).toMatchObject({ code: 0, stdout: "bundle set.\n" });
    const listed = await server.json("bundle", "list", "-id", id);
    expect(listed["x509_authorities"]).toHaveLength(OLD_ROOTS.length + 1);
  }
  await server.entry(
    `spiffe://${TRUST_DOMAIN}/w`,
    agent.id,
    ["unix:uid:1"],
    "-federatesWith",
    "pem.test",
  );
  const fetched = await eventually("the SVID", async () => {
    const answer = await agent.cli(["api", "fetch", "x509", "-output", "json"], { uid: 1 });
    return answer.code === 0 ? answer.stdout : undefined;
  });
  expect(fetched).toContain("pem.test");
}, 60_000);

test("the offline authority takes them as its roots", async () => {
  const plugins = `UpstreamAuthority "offline" {\n plugin_data {\n root_cert_path = "${all}"\n }\n }`;
  const server = await TestServer.prepare(stage, "ours", { plugins });
  await server.start("The X509 CA must be signed by hand");
}, 60_000);

test("an SVID below an authority that the bundle holds beside its root is verified by the root alone", async () => {
  files.ca("root");
  files.ca("issuing", { issuer: "root" });
  const both = files.write("both.pem", files.read("issuing.pem"), files.read("root.pem"));
  const plugins = disk(files.path("issuing.pem"), files.path("issuing.key"), both);
  const server = await TestServer.start(stage, "ours", { plugins });
  const svid = await minted(server);
  await verifiedByTheRoot(svid);
  const agent = await TestAgent.start(stage, "ours", server);
  await server.entry(`spiffe://${TRUST_DOMAIN}/w`, agent.id, ["unix:uid:0"]);
  const directory = stage.room("fetched");
  await eventually("the SVID", async () => {
    const answer = await agent.cli(["api", "fetch", "x509", "-write", directory]);
    return answer.code === 0 ? true : undefined;
  });
  await verifiedByTheRoot(join(directory, "svid.0.pem"));
}, 60_000);

async function verifiedByTheRoot(svid: string): Promise<void> {
  const verify = ["openssl", "verify", "-CAfile", files.path("root.pem"), "-untrusted", svid, svid];
  expect(await run(verify)).toMatchObject({ code: 0, stdout: `${svid}: OK\n` });
}
