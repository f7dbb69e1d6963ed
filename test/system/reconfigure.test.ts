/** SIGUSR1 and `plugin_data_file`: what is read anew, what a file that is wrong changes, and what the log says of it, beside the reference. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { certificatesFromPem } from "#x509/pem.ts";
import {
  fingerprint,
  issuing,
  node,
  otherRoot,
  pem,
  pkcs8,
  plugin,
  root,
} from "../support/nodes.ts";
import type { Daemon } from "../support/process.ts";
import {
  executable,
  type Implementation,
  Stage,
  TestAgent,
  TestServer,
  TRUST_DOMAIN,
} from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

/** The lines of the log, from a signal until that many plugins have answered; what differs by run is cut away. */
async function reconfigured(daemon: Daemon, plugins: number): Promise<string[]> {
  const from = daemon.lines.length;
  const told = (): string[] =>
    daemon.lines.slice(from).filter((line) => /[Rr]econfigure/.test(line));
  daemon.signal("SIGUSR1");
  await daemon.line(() => told().length > plugins, 10_000, from);
  return told().map((line) => line.replace(/^time=\S+ /, ""));
}

/** Of `level=info msg="…" key=…` the fields by their names. */
function fields(line: string | undefined): Record<string, string> {
  const found = (line ?? "").matchAll(/(\w+)=("(?:[^"\\]|\\.)*"|\S*)/g);
  return Object.fromEntries([...found].map(([, key = "", value = ""]) => [key, value]));
}

describe.each(["ours", "reference"] as const)("%s agent", (implementation: Implementation) => {
  const workload = { uid: 1 };
  let agent: TestAgent;
  let file: string;
  let withoutPath: string;
  let withPath: string;

  beforeAll(async () => {
    const server = await TestServer.start(stage, "ours");
    agent = await TestAgent.prepare(stage, implementation, server);
    file = join(agent.directory, "unix.conf");
    withoutPath = "discover_workload_path = false\n";
    withPath = "discover_workload_path = true\n";
    writeFileSync(file, withoutPath);
    const text = readFileSync(agent.configuration, "utf8").replace(
      /WorkloadAttestor "unix" \{\s*plugin_data \{\s*\}/,
      `WorkloadAttestor "unix" { plugin_data_file = "${file}"`,
    );
    writeFileSync(agent.configuration, text);
    await server.entry(`spiffe://${TRUST_DOMAIN}/by-uid`, agent.id, ["unix:uid:1"]);
    // What runs as the workload is the agent's own executable.
    const program = realpathSync(executable(implementation, "spire-agent"));
    const selectors = ["unix:uid:1", `unix:path:${program}`];
    await server.entry(`spiffe://${TRUST_DOMAIN}/by-path`, agent.id, selectors);
    await agent.start();
  }, 60_000);

  async function identities(): Promise<string[]> {
    const fetched = await agent.cli(["api", "fetch", "x509"], workload);
    return [...fetched.stdout.matchAll(/SPIFFE ID:\s+\S+\/(\S+)/g)].map(([, name = ""]) => name);
  }

  const log = async (): Promise<Record<string, string>[]> =>
    (await reconfigured(agent.daemon, 1)).map(fields);
  const hash = (text: string): string =>
    new Bun.CryptoHasher("sha512").update(text).digest("hex").slice(0, 32);
  const named = {
    subsystem_name: "catalog",
    plugin_name: "unix",
    plugin_type: "WorkloadAttestor",
    external: "false",
  };

  test("a file that did not change changes nothing", async () => {
    expect(await identities()).toEqual(["by-uid"]);
    expect(await log()).toEqual([
      { level: "info", msg: '"Reconfigure signal received"', subsystem_name: "reconfigurer" },
      {
        level: "info",
        msg: '"Plugin not reconfigured since the config is unchanged"',
        hash: hash(withoutPath),
        ...named,
      },
    ]);
  });

  test("a file that changed takes effect for the next caller", async () => {
    writeFileSync(file, withPath);
    const [, line] = await log();
    const hashes = { old_hash: hash(withoutPath), new_hash: hash(withPath) };
    expect(line).toEqual({ level: "info", msg: '"Plugin reconfigured"', ...hashes, ...named });
    expect((await identities()).sort()).toEqual(["by-path", "by-uid"]);
  });

  test.each([
    ["that is no HCL", () => writeFileSync(file, "discover_workload_path = {")],
    ["with a value of another kind", () => writeFileSync(file, "workload_size_limit = {}")],
    ["that is gone", () => Bun.file(file).delete()],
  ])("a file %s is an error, and changes nothing", async (_what, damage) => {
    await damage();
    const [, line] = await log();
    const { error, ...rest } = line ?? {};
    expect(rest).toEqual({ level: "error", msg: '"Failed to reconfigure plugin"', ...named });
    expect(error).not.toBe("");
    expect((await identities()).sort()).toEqual(["by-path", "by-uid"]);
    writeFileSync(file, withPath);
    expect((await log())[1]).toMatchObject({ hash: hash(withPath) });
  });
});

test("a mistake in the file is named with its line", async () => {
  const server = await TestServer.prepare(stage, "ours", {});
  const file = join(server.directory, "keys.conf");
  const keys = join(server.directory, "data", "keys.json");
  writeFileSync(file, `keys_path = "${keys}"\n`);
  useDataFile(server, file);
  await server.start();
  writeFileSync(file, `keys_path = "${keys}"\nkey_path = "x"\n`);
  const [, line] = await reconfigured(server.daemon, 1);
  expect(line).toContain(`${file}:2: unknown configuration detected: key \\"key_path\\"`);
}, 60_000);

/** Gives the server's KeyManager a file of its own for its data. */
function useDataFile(server: TestServer, file: string): void {
  const text = readFileSync(server.configuration, "utf8").replace(
    /KeyManager "disk" \{\s*plugin_data \{[^}]*\}/,
    `KeyManager "disk" { plugin_data_file = "${file}"`,
  );
  writeFileSync(server.configuration, text);
}

describe("our server", () => {
  let server: TestServer;
  const file = (name: string): string => join(server.directory, name);
  const write = (name: string, text: string): string => {
    writeFileSync(file(name), text, { mode: 0o600 });
    return file(name);
  };
  const upstream = (of: typeof root, name: string): string =>
    `cert_file_path = "${write(`${name}.pem`, pem([of.certificate]))}"
key_file_path = "${write(`${name}.key`, pkcs8(of.key))}"\n`;

  beforeAll(async () => {
    server = await TestServer.prepare(stage, "ours", {
      settings: "ratelimit { attestation = false }",
      plugins: `NodeAttestor "x509pop" { plugin_data_file = "FILE/nodes.conf" }
  UpstreamAuthority "disk" { plugin_data_file = "FILE/upstream.conf" }`,
    });
    const text = readFileSync(server.configuration, "utf8").replaceAll("FILE", server.directory);
    writeFileSync(server.configuration, text);
    write("nodes.conf", `ca_bundle_path = "${write("other.pem", pem([otherRoot.certificate]))}"`);
    write("upstream.conf", upstream(root, "upstream"));
    useDataFile(server, write("keys.conf", `keys_path = "${file("data/keys.json")}"`));
    await server.start();
  }, 60_000);

  test("nodes are let in by the authorities of the new file", async () => {
    const { privateKey, chain } = await node();
    const directory = stage.room("node");
    const agent = await TestAgent.prepare(stage, "ours", server, {
      directory,
      nodeAttestor: plugin(directory, {
        private_key_path: pkcs8(privateKey),
        certificate_path: pem(chain),
      }),
    });
    const refused = agent.launch();
    await refused.line((line) => line.includes("certificate verification failed"));
    await refused.stop();
    write("nodes.conf", `ca_bundle_path = "${write("root.pem", pem([root.certificate]))}"`);
    expect((await reconfigured(server.daemon, 3)).join("\n")).toContain("Plugin reconfigured");
    await agent.start();
    const listed = await server.cli("agent", "list");
    expect(listed.stdout).toContain(fingerprint(chain[0]));
  }, 60_000);

  test("the next CA is below the new upstream", async () => {
    write("upstream.conf", upstream(otherRoot, "upstream2"));
    await reconfigured(server.daemon, 3);
    expect((await server.cli("localauthority", "x509", "prepare")).code).toBe(0);
    const trusted = certificatesFromPem(await Bun.file(await server.bundleFile()).text());
    expect(trusted.map((der) => Buffer.from(der).toString("hex"))).toContain(
      Buffer.from(otherRoot.certificate.der).toString("hex"),
    );
  });

  test("an upstream whose files do not fit is refused", async () => {
    const wrong = `cert_file_path = "${file("upstream.pem")}"\nkey_file_path = "${file("upstream2.key")}"`;
    write("upstream.conf", wrong);
    const lines = await reconfigured(server.daemon, 3);
    expect(lines.filter((line) => line.includes("level=error"))).toEqual([
      expect.stringContaining("Failed to reconfigure plugin"),
    ]);
    expect((await server.cli("localauthority", "x509", "prepare")).code).toBe(0);
    write("upstream.conf", upstream(otherRoot, "upstream2"));
  });

  test("a keys file that has other keys is not written over", async () => {
    const theirs = pkcs8(issuing.key).replace(/-----.*-----|\n/g, "");
    const text = JSON.stringify({ keys: { "x509-CA-A": theirs } });
    write("keys.conf", `keys_path = "${write("theirs.json", text)}"`);
    const lines = await reconfigured(server.daemon, 3);
    expect(lines.join("\n")).toContain('theirs.json: it has another key \\"x509-CA-A\\" already');
    expect(readFileSync(file("theirs.json"), "utf8")).toBe(text);
  });

  test("keys move with their file, and a server that is restarted finds them there", async () => {
    write("keys.conf", `keys_path = "${file("moved.json")}"`);
    await reconfigured(server.daemon, 3);
    expect(readFileSync(file("moved.json"), "utf8")).toContain("x509-CA-A");
    expect(existsSync(file("data/keys.json"))).toBe(true);
    const before = await server.json("localauthority", "x509", "show");
    await server.daemon.stop();
    await server.start();
    expect(await server.json("localauthority", "x509", "show")).toEqual(before);
  }, 60_000);
});
