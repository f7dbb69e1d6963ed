/** SVIDs in files from the agent of either implementation: `svid-files` is a client of the Workload API like any other. */
import { afterAll, expect, test } from "bun:test";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer } from "../support/spire.ts";

const ID = "spiffe://example.org/web";
const stage = new Stage();
afterAll(() => stage.close(), 60_000);

test("the reference's agent gives what is asked for: certificates, key, authorities, tokens and their keys", async () => {
  const server = await TestServer.start(stage, "reference");
  const agent = await TestAgent.start(stage, "reference", server);
  await server.entry(ID, agent.id, [`unix:uid:${process.getuid?.()}`], "-hint", "web");
  const directory = stage.room("files");
  const configuration = join(directory, "helper.conf");
  writeFileSync(
    configuration,
    `agent_address = "unix://${agent.socket}"
    daemon_mode = false
    hint = "web"
    cert_dir = "${directory}/certs"
    svid_file_name = "svid.pem"
    svid_key_file_name = "key.pem"
    svid_bundle_file_name = "bundle.pem"
    jwt_svids = [{ jwt_audience = "a", jwt_svid_file_name = "jwt.token" }]
    jwt_bundle_file_name = "jwks.json"`,
  );
  const written = await eventually("the entry has reached the agent", async () => {
    const command = [executable("ours", "spire-agent"), "svid-files", "-config", configuration];
    const finished = await run(command, { timeoutMs: 15_000 });
    return finished.code === 0 ? finished : undefined;
  });
  expect(written.stderr).toBe("");
  const read = (name: string): string => readFileSync(join(directory, "certs", name), "utf8");
  const certificate = new X509Certificate(read("svid.pem"));
  expect(certificate.subjectAltName).toBe(`URI:${ID}`);
  expect(certificate.checkPrivateKey(createPrivateKey(read("key.pem")))).toBe(true);
  expect(certificate.verify(new X509Certificate(read("bundle.pem")).publicKey)).toBe(true);
  const [header = ""] = read("jwt.token").split(".");
  const { kid } = JSON.parse(Buffer.from(header, "base64url").toString());
  const { keys }: { keys: { kid: string }[] } = JSON.parse(read("jwks.json"));
  expect(keys.map((key) => key.kid)).toContain(kid);
}, 60_000);
