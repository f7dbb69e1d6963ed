/**
 * A daemon of root's obeys files: its configuration, declared entries, keys and authorities, the word it joins by. What another user may write,
 * or put in the place of, would have that user decide who gets which identity.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { backUp, backup } from "../support/backups.ts";
import { eventually, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const NOBODY = 65534;
const stage = new Stage();
let server: TestServer;
/** Root's, with what the running server obeys in it. */
let entries: string;

beforeAll(async () => {
  entries = stage.room("entries");
  server = await TestServer.start(stage, "ours", { settings: `entries_dir = "${entries}"` });
}, 60_000);

afterAll(() => stage.close(), 60_000);

const ENTRY = (name: string): string =>
  JSON.stringify({
    entries: [
      {
        parent_id: `spiffe://${TRUST_DOMAIN}/node`,
        spiffe_id: `spiffe://${TRUST_DOMAIN}/${name}`,
        selectors: [{ type: "unix", value: "uid:65534" }],
      },
    ],
  });

/** A directory that belongs to nobody, with a copy of a file in it that is root's. */
function inTheirs(path: string): string {
  const theirs = stage.room("theirs");
  const copy = join(theirs, "file");
  copyFileSync(path, copy);
  chmodSync(copy, 0o600);
  chownSync(theirs, NOBODY, NOBODY);
  return copy;
}

const shownEntries = async (): Promise<string> => (await server.cli("entry", "show")).stdout;

async function reloaded(words: string): Promise<string> {
  const from = server.daemon.lines.length;
  server.daemon.signal("SIGHUP");
  return await server.daemon.line((line) => line.includes(words), 30_000, from);
}

test("declared entries of another user's are not taken: his file, his directory, his link", async () => {
  writeFileSync(join(entries, "own.json"), ENTRY("own"));
  await eventually("root's own are", async () =>
    (await shownEntries()).includes("/own") ? true : undefined,
  );
  const planted = join(entries, "planted.json");
  writeFileSync(planted, ENTRY("planted"));
  chownSync(planted, NOBODY, NOBODY);
  expect(await reloaded("can be changed by other users")).toContain("planted.json");
  chownSync(planted, 0, 0);
  chmodSync(planted, 0o664);
  chownSync(planted, 0, NOBODY);
  expect(await reloaded("group 65534 may write it")).toContain("chmod g-w");
  expect(await shownEntries()).not.toContain("/planted");
});

test("a directory of declared entries that is another's, or below his, neither", async () => {
  const theirs = stage.room("theirs");
  const below = join(theirs, "entries");
  mkdirSync(below);
  writeFileSync(join(below, "a.json"), ENTRY("planted"));
  chownSync(theirs, NOBODY, NOBODY);
  const other = await TestServer.prepare(stage, "ours", { settings: `entries_dir = "${below}"` });
  const daemon = other.launch();
  await daemon.line((line) => line.includes(`directory ${theirs} can be changed by other users`));
  await daemon.stop();
  const doctor = await run([
    executable("ours", "spire-server"),
    "doctor",
    "-config",
    other.configuration,
  ]);
  expect(doctor.stdout).toMatch(/FAIL\s+declared_entries .*can be changed by other users/);
});

/** A root and its key. */
async function material(
  directory: string,
): Promise<{ readonly key: string; readonly certificate: string }> {
  const key = join(directory, "key.pem");
  const certificate = join(directory, "cert.pem");
  const openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"];
  const made = ["ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate];
  const { code } = await run([...openssl, ...made, "-subj", "/CN=root", "-days", "2"]);
  expect(code).toBe(0);
  return { key, certificate };
}

const BELONGS = "can be changed by other users (it belongs to user 65534)";

test.each(["config", "plugin_data_file", "upstream key", "ca_bundle_path", "root_cert_path"])(
  "the server obeys no %s of another user's",
  async (what) => {
    const directory = stage.room("material");
    const { key, certificate } = await material(directory);
    const data = join(directory, "data.conf");
    const keyPath = what === "upstream key" ? inTheirs(key) : key;
    writeFileSync(data, `cert_file_path = "${certificate}"\nkey_file_path = "${keyPath}"\n`);
    const dataPath = what === "plugin_data_file" ? inTheirs(data) : data;
    const block = (kind: string, key: string): string =>
      `${kind} { plugin_data { ${key} = "${inTheirs(certificate)}" } }`;
    const blocks: Readonly<Record<string, string>> = {
      ca_bundle_path: block(`NodeAttestor "x509pop"`, what),
      root_cert_path: block(`UpstreamAuthority "offline"`, what),
    };
    const disk = `UpstreamAuthority "disk" { plugin_data_file = "${dataPath}" }`;
    const plugins = blocks[what] ?? disk;
    const other = await TestServer.prepare(stage, "ours", { plugins });
    const path = what === "config" ? inTheirs(other.configuration) : other.configuration;
    const command = [executable("ours", "spire-server"), "run", "-config", path];
    const { code, stdout, stderr } = await run(command, { timeoutMs: 20_000 });
    expect(stdout + stderr).toContain(BELONGS);
    expect(code).toBe(1);
    // Whoever looks at a configuration from outside obeys nothing.
    const check = [executable("ours", "spire-server"), "validate", "-config", path];
    expect((await run(check)).code).toBe(0);
  },
  60_000,
);

test.each(["private_key_path", "certificate_path"])(
  "the agent shows itself by no %s of another user's",
  async (what) => {
    const { key, certificate } = await material(stage.room("material"));
    const paths = { private_key_path: key, certificate_path: certificate };
    const data = Object.entries(paths).map(
      ([name, path]) => `${name} = "${name === what ? inTheirs(path) : path}"`,
    );
    const agent = await TestAgent.prepare(stage, "ours", server, {
      nodeAttestor: `NodeAttestor "x509pop" {\n plugin_data {\n ${data.join("\n")}\n }\n }`,
    });
    const daemon = agent.launch();
    await daemon.line((line) => line.includes(BELONGS));
    await daemon.stop();
  },
  60_000,
);

test("a token file that becomes another's is not read again when the agent has to join anew", async () => {
  const file = join(stage.room("token"), "token");
  const token = await server.token();
  writeFileSync(file, token);
  const settings = `join_token_file = "${file}"`;
  const agent = await TestAgent.start(stage, "ours", server, { token: "", settings });
  chownSync(file, NOBODY, NOBODY);
  const id = `spiffe://${TRUST_DOMAIN}/spire/agent/join_token/${token}`;
  expect((await server.cli("agent", "evict", "-spiffeID", id)).code).toBe(0);
  await agent.daemon.line((line) => line.includes(BELONGS));
  await agent.daemon.stop();
}, 60_000);

test("the writer of SVID files obeys no configuration of another user's", async () => {
  const configuration = join(stage.room("helper"), "helper.conf");
  const directory = stage.room("certs");
  writeFileSync(
    configuration,
    `agent_address = "/none.sock"\ncert_dir = "${directory}"\nsvid_file_name = "a.pem"\n`,
  );
  const theirs = inTheirs(configuration);
  const helper = [executable("ours", "spire-agent"), "svid-files", "-config", theirs];
  const { code, stdout, stderr } = await run(helper, { timeoutMs: 20_000 });
  expect(stdout + stderr).toContain(BELONGS);
  expect(code).toBe(1);
});

test.each(["join_file", "join_token_file", "trust_bundle_path"])(
  "the agent obeys no %s of another user's",
  async (key) => {
    const directory = stage.room("agent-files");
    const file = join(directory, key);
    const word = await server.cli("token", "generate", "-join", "-serverAddress", "127.0.0.1");
    const token = await server.token();
    const bundle = readFileSync(await server.bundleFile(), "utf8");
    const contents: Record<string, string> = { join_file: word.stdout, join_token_file: token };
    writeFileSync(file, contents[key] ?? bundle);
    const flag = `-${key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())}`;
    const first = [executable("ours", "spire-agent"), "run", "-dataDir", join(directory, "data")];
    const more =
      key === "join_file"
        ? []
        : [
            "-serverAddress",
            "127.0.0.1",
            "-serverPort",
            `${server.port}`,
            "-trustDomain",
            TRUST_DOMAIN,
          ];
    const bundleFlags =
      key === "join_token_file" ? ["-trustBundle", await server.bundleFile()] : [];
    const name = flag === "-trustBundlePath" ? "-trustBundle" : flag;
    const tokenFlags = key === "trust_bundle_path" ? ["-joinToken", token] : [];
    const socket = ["-socketPath", join(directory, "api.sock")];
    const command = [
      ...first,
      ...more,
      ...bundleFlags,
      ...tokenFlags,
      ...socket,
      name,
      inTheirs(file),
    ];
    const daemon = stage.daemon(command, join(directory, "agent.log"));
    await daemon.line((line) => line.includes(BELONGS));
    await daemon.stop();
    expect(daemon.lines.join("\n")).not.toContain("Starting agent APIs");
  },
  60_000,
);

test("a configuration that becomes another's is not read again, and the server goes on", async () => {
  chownSync(server.configuration, NOBODY, NOBODY);
  await reloaded("not reloaded");
  chownSync(server.configuration, 0, 0);
  expect((await server.cli("healthcheck")).code).toBe(0);
});

test("who starts root's daemon by sudo may give it his own files", async () => {
  const other = await TestServer.prepare(stage, "ours");
  chownSync(other.configuration, 4711, 4711);
  const command = [executable("ours", "spire-server"), "run", "-config", other.configuration];
  const log = join(other.directory, "server.log");
  const daemon = stage.daemon(command, log, { env: { SUDO_UID: "4711" } });
  await daemon.line((line) => line.includes("Starting Server APIs"));
  await daemon.stop();
});

test("SVIDs are written into no directory of another's, and nothing of his way there changes", async () => {
  const theirs = stage.room("theirs");
  const secret = stage.room("secret");
  chmodSync(secret, 0o700);
  // He swaps a link in for a directory of his: what it leads to must keep its mode.
  symlinkSync(secret, join(theirs, "certs"));
  chownSync(theirs, NOBODY, NOBODY);
  const configuration = join(stage.room("helper"), "helper.conf");
  for (const directory of [join(theirs, "certs/new"), join(theirs, "made/new")]) {
    writeFileSync(
      configuration,
      `agent_address = "/none.sock"\ncert_dir = "${directory}"\nsvid_file_name = "a.pem"\n`,
    );
    const helper = [executable("ours", "spire-agent"), "svid-files", "-config", configuration];
    const { code, stderr, stdout } = await run(helper, { timeoutMs: 20_000 });
    expect(code).toBe(1);
    expect(stdout + stderr).toContain(`directory ${theirs} can be changed by other users`);
    expect(existsSync(directory)).toBe(false);
  }
  expect(existsSync(join(theirs, "made"))).toBe(false);
  expect(statSync(secret).mode & 0o777).toBe(0o700);
});

test("neither daemon keeps its data where another user can put his own in its place", async () => {
  const theirs = stage.room("theirs");
  chownSync(theirs, NOBODY, NOBODY);
  const agent = await TestAgent.prepare(stage, "ours", server);
  for (const [name, configuration] of [
    ["spire-server", (await TestServer.prepare(stage, "ours")).configuration],
    ["spire-agent", agent.configuration],
  ] as const) {
    const data = join(theirs, name);
    const command = [executable("ours", name), "run", "-config", configuration, "-dataDir", data];
    const { code, stdout, stderr } = await run(command, { timeoutMs: 20_000 });
    expect(code).toBe(1);
    expect(stdout + stderr).toContain(`directory ${theirs} can be changed by other users`);
    expect(existsSync(data)).toBe(false);
  }
}, 60_000);

test.each(["keys.json", "datastore.sqlite3"])(
  "the server keeps no %s where another user can put his own in its place",
  async (name) => {
    const theirs = stage.room("theirs");
    chownSync(theirs, NOBODY, NOBODY);
    const { configuration, directory } = await TestServer.prepare(stage, "ours");
    const moved = readFileSync(configuration, "utf8").replace(
      join(directory, "data", name),
      join(theirs, name),
    );
    writeFileSync(configuration, moved);
    const command = [executable("ours", "spire-server"), "run", "-config", configuration];
    const { code, stdout, stderr } = await run(command, { timeoutMs: 20_000 });
    expect(stdout + stderr).toContain(`directory ${theirs} can be changed by other users`);
    expect(code).toBe(1);
    expect(existsSync(join(theirs, name))).toBe(false);
  },
  60_000,
);

test("no backup is restored where another user can put his own in its place", async () => {
  const path = join(stage.room("backups"), "backup");
  await backUp(server, path);
  const theirs = stage.room("theirs");
  chownSync(theirs, NOBODY, NOBODY);
  const [data, other] = [join(theirs, "data"), stage.room("data")];
  const { configuration, directory } = await TestServer.prepare(stage, "ours");
  const keys = join(directory, "data", "keys.json");
  const text = readFileSync(configuration, "utf8");
  writeFileSync(configuration, text.replace(keys, join(theirs, "keys", "keys.json")));
  for (const place of [
    ["-dataDir", data],
    ["-config", configuration],
  ]) {
    const { code, stderr } = await backup("restore", "-force", ...place, path);
    expect(stderr).toContain(`directory ${theirs} can be changed by other users`);
    expect(code).toBe(1);
  }
  expect(readdirSync(theirs)).toEqual([]);
  expect(readdirSync(join(directory, "data"))).toEqual([]);
  expect(await backup("restore", "-force", "-dataDir", other, path)).toMatchObject({ code: 0 });
}, 60_000);
