/** A server below another authority: its CA is an intermediate, SVIDs carry it, and go-spiffe verifies them against the root. */
import { afterAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { JoinWord } from "#spiffe/join-word.ts";
import { sha256Fingerprint } from "#x509/fingerprint.ts";
import { certificatesFromPem } from "#x509/pem.ts";
import { REFUSED } from "../support/joining-node.ts";
import { eventually, run } from "../support/process.ts";
import {
  executable,
  GO_CLIENT,
  Stage,
  TestAgent,
  TestServer,
  TRUST_DOMAIN,
} from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

/** A root made by openssl; gives the plugin block that uses it. */
async function root(
  kind: "ec" | "rsa",
  form: "pem" | "pkcs12",
): Promise<{ plugin: string; pem: string }> {
  const directory = stage.room("root");
  const file = (name: string): string => join(directory, name);
  const key = kind === "ec" ? ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] : ["rsa:2048"];
  const made = await run([
    "openssl",
    "req",
    "-x509",
    "-newkey",
    ...key,
    "-nodes",
    "-days",
    "3",
    "-subj",
    "/CN=Root of the house",
    "-keyout",
    file("key.pem"),
    "-out",
    file("cert.pem"),
    "-addext",
    "basicConstraints=critical,CA:TRUE",
    "-addext",
    "keyUsage=critical,keyCertSign,cRLSign",
  ]);
  expect(made.code).toBe(0);
  const pem = await Bun.file(file("cert.pem")).text();
  const block = (data: string): string =>
    `UpstreamAuthority "disk" {\n plugin_data {\n ${data}\n }\n }`;
  if (form === "pem") {
    return {
      pem,
      plugin: block(
        `cert_file_path = "${file("cert.pem")}"\n key_file_path = "${file("key.pem")}"`,
      ),
    };
  }
  writeFileSync(file("password"), "secret of the house\n", { mode: 0o600 });
  const packed = await run([
    "openssl",
    "pkcs12",
    "-export",
    "-inkey",
    file("key.pem"),
    "-in",
    file("cert.pem"),
    "-out",
    file("root.p12"),
    "-passout",
    "pass:secret of the house",
  ]);
  expect(packed.code).toBe(0);
  return {
    pem,
    plugin: block(
      `pkcs12_file_path = "${file("root.p12")}"\n pkcs12_password_file = "${file("password")}"`,
    ),
  };
}

test.each([
  ["ec", "pem"],
  ["rsa", "pem"],
  ["ec", "pkcs12"],
  ["rsa", "pkcs12"],
] as const)(
  "%s root from %s",
  async (kind, form) => {
    const { plugin, pem } = await root(kind, form);
    const server = await TestServer.start(stage, "ours", { plugins: plugin });
    const agent = await TestAgent.start(stage, "ours", server);
    await server.entry(`spiffe://${TRUST_DOMAIN}/me`, agent.id, ["unix:uid:1"]);
    const [bundle] = certificatesFromPem(await Bun.file(await server.bundleFile()).text());
    expect(
      Buffer.compare(bundle ?? new Uint8Array(), certificatesFromPem(pem)[0] ?? new Uint8Array()),
    ).toBe(0);
    const svid = await eventually("the SVID", async () => {
      const answer = await run([GO_CLIENT, "x509", agent.socket], { uid: 1 });
      return answer.code === 0 ? (JSON.parse(answer.stdout) as Record<string, unknown>) : undefined;
    });
    expect(svid["chain"]).toBe(2);
    // Below an upstream as well, a restart goes on with the same CA.
    await server.daemon.stop();
    await server.start();
    expect(server.daemon.lines.join("\n")).not.toContain("X509 CA prepared");
  },
  90_000,
);

test("a restarted agent keeps its SVID and goes on without its token", async () => {
  const server = await TestServer.start(stage, "ours");
  const agent = await TestAgent.start(stage, "ours", server);
  await agent.daemon.stop();
  await agent.start();
  expect(agent.daemon.lines.join("\n")).toContain("SVID loaded");
  const count = await server.cli("agent", "count");
  expect(count.stdout).toBe("1 attested agent\n");
}, 60_000);

test("a banned agent throws its SVID away and is not to be started again", async () => {
  const server = await TestServer.start(stage, "ours");
  const agent = await TestAgent.start(stage, "ours", server);
  expect((await server.cli("agent", "ban", "-spiffeID", agent.id)).code).toBe(0);
  expect(await agent.daemon.exited).toBe(REFUSED);
  const state = JSON.parse(await Bun.file(join(agent.directory, "data/agent-data.json")).text());
  expect(state.svid).toBeNull();
}, 60_000);

test("a join word names the root, which the server does not show when it is connected to", async () => {
  const { plugin, pem } = await root("ec", "pem");
  const server = await TestServer.start(stage, "ours", { plugins: plugin });
  const { stdout: word } = await server.cli("token", "generate", "-join");
  expect(JoinWord.parse(word).fingerprints).toEqual(
    certificatesFromPem(pem).map(sha256Fingerprint),
  );
  const directory = stage.room("node");
  const path = join(directory, "join");
  writeFileSync(path, word);
  const own = ["-dataDir", join(directory, "data"), "-socketPath", join(directory, "api.sock")];
  const command = [executable("ours", "spire-agent"), "run", "-joinFile", path, ...own];
  const daemon = stage.daemon(command, join(directory, "agent.log"));
  await daemon.line((line) => line.includes("Node attestation was successful"));
}, 60_000);
