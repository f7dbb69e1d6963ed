/** The executables for arm64, as edge devices run them: the main job, joining by word and by certificate, SVIDs in files. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { emulatedPrograms } from "../support/emulated.ts";
import { JoiningNode, NODE, wordOf } from "../support/joining-node.ts";
import { fingerprint, node, pem, pkcs8, plugin, root, shown } from "../support/nodes.ts";
import { eventually, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const WORKLOAD = `spiffe://${TRUST_DOMAIN}/db`;
const UID = 4400;
const SELECTORS = [`unix:uid:${UID}`];
/** Each command is translated anew. */
const TIMEOUT_MS = 240_000;

const stage = new Stage();
const dist = process.env["SPIRE_EDGE_DIST"];
let server: TestServer;
let agent: TestAgent;

beforeAll(async () => {
  process.env["SPIRE_EDGE_DIST"] = await emulatedPrograms(stage);
  const bundle = join(stage.directory, "ca.pem");
  writeFileSync(bundle, pem([root.certificate]));
  server = await TestServer.start(stage, "ours", {
    plugins: `NodeAttestor "x509pop" {
    plugin_data {
      ca_bundle_path = "${bundle}"
    }
  }`,
  });
  agent = await TestAgent.start(stage, "ours", server);
  await server.entry(WORKLOAD, agent.id, SELECTORS);
}, 600_000);

afterAll(async () => {
  if (dist === undefined) delete process.env["SPIRE_EDGE_DIST"];
  else process.env["SPIRE_EDGE_DIST"] = dist;
  await stage.close();
}, 60_000);

const fetched = (of: TestAgent, kind: string, ...more: string[]): Promise<string> =>
  eventually(
    `an ${kind} SVID`,
    async () => {
      const { code, stdout } = await of.cli(["api", "fetch", kind, ...more], { uid: UID });
      return code === 0 ? stdout : undefined;
    },
    TIMEOUT_MS / 2,
  );

test(
  "they are for that machine",
  async () => {
    const wrapper = readFileSync(executable("ours", "spire-agent"), "utf8");
    const program = /\S+\/linux-arm64\/spire-agent/.exec(wrapper)?.[0] ?? "";
    // ELF, e_machine: EM_AARCH64.
    expect(readFileSync(program).readUInt16LE(18)).toBe(183);
  },
  TIMEOUT_MS,
);

test(
  "an agent that joined by token gives a workload its X509-SVID and JWT-SVID",
  async () => {
    expect(await fetched(agent, "x509")).toContain(WORKLOAD);
    expect(await fetched(agent, "jwt", "-audience", "billing")).toContain(`token(${WORKLOAD}):`);
    const stranger = await agent.cli(["api", "fetch", "x509"], { uid: UID + 1 });
    expect(stranger.stderr).toContain("no identity issued");
  },
  TIMEOUT_MS,
);

test(
  "a join word is all that an agent needs, and its workloads get their identities",
  async () => {
    const id = `spiffe://${TRUST_DOMAIN}/joined`;
    await server.entry(id, NODE, SELECTORS);
    const node = new JoiningNode(stage);
    const daemon = node.start(["-join", await wordOf(server)]);
    await node.healthy(daemon, TIMEOUT_MS / 2);
    const command = [executable("ours", "spire-agent"), "api", "fetch", "x509"];
    await eventually(
      "an x509 SVID",
      async () => {
        const { stdout } = await run([...command, "-socketPath", node.socket], { uid: UID });
        return stdout.includes(id) || undefined;
      },
      TIMEOUT_MS / 2,
    );
    await daemon.stop();
  },
  TIMEOUT_MS,
);

test(
  "an agent joins by the certificate of its node, which the server asks proof for",
  async () => {
    const { privateKey, chain } = await node();
    const [leaf, ...above] = chain;
    const directory = stage.room("node");
    const joined = await TestAgent.start(stage, "ours", server, {
      directory,
      nodeAttestor: plugin(directory, {
        private_key_path: pkcs8(privateKey),
        certificate_path: pem(chain.slice(0, 1)),
        intermediates_path: pem(above),
      }),
    });
    const id = `spiffe://${TRUST_DOMAIN}/spire/agent/x509pop/${fingerprint(leaf)}`;
    expect((await shown(server, id)).attestation_type).toBe("x509pop");
    await joined.daemon.stop();
  },
  TIMEOUT_MS,
);

test(
  "SVIDs are written to files",
  async () => {
    const directory = stage.room("files");
    const path = join(directory, "helper.conf");
    writeFileSync(
      path,
      `agent_address = "${agent.socket}"
cert_dir = "${directory}"
daemon_mode = false
svid_file_name = "svid.pem"
svid_key_file_name = "svid_key.pem"
svid_bundle_file_name = "svid_bundle.pem"
`,
    );
    await server.entry(`spiffe://${TRUST_DOMAIN}/files`, agent.id, ["unix:uid:0"]);
    const command = [executable("ours", "spire-agent"), "svid-files", "-config", path];
    const { code, stdout, stderr } = await run(command, { timeoutMs: TIMEOUT_MS });
    expect({ code, said: code === 0 ? "" : stdout + stderr }).toEqual({ code: 0, said: "" });
    const certificate = new X509Certificate(readFileSync(join(directory, "svid.pem")));
    expect(certificate.subjectAltName).toBe(`URI:spiffe://${TRUST_DOMAIN}/files`);
  },
  TIMEOUT_MS,
);
