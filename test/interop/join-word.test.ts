/** Our agent joins a server of the reference by one word, which the reference knows nothing of. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { JoinWord } from "#spiffe/join-word.ts";
import { sha256Fingerprint } from "#x509/fingerprint.ts";
import { certificatesFromPem } from "#x509/pem.ts";
import { type Daemon, eventually, type Finished, run } from "../support/process.ts";
import { executable, Stage, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const AGENT = executable("ours", "spire-agent");
const stage = new Stage();
let server: TestServer;
let bundle: string;
let address: string;

beforeAll(async () => {
  server = await TestServer.start(stage, "reference");
  bundle = await server.bundleFile();
  address = `127.0.0.1:${server.port}`;
}, 120_000);

afterAll(() => stage.close(), 60_000);

function launch(word: string, directory: string): Daemon {
  const path = join(directory, "join");
  writeFileSync(path, word, { mode: 0o600 });
  const words = [
    "run",
    "-joinFile",
    path,
    "-dataDir",
    directory,
    "-socketPath",
    `${directory}/api.sock`,
  ];
  return stage.daemon([AGENT, ...words], join(directory, "agent.log"));
}

async function joins(word: string): Promise<void> {
  const directory = stage.room("node");
  const daemon = launch(word, directory);
  await eventually("the agent is healthy", async () => {
    const { code } = await run([AGENT, "healthcheck", "-socketPath", `${directory}/api.sock`]);
    if (code !== 0 && !daemon.running) throw new Error(daemon.lines.join("\n"));
    return code === 0 || undefined;
  });
}

/** What our command makes of the reference's answers. */
const pack = (input: string, ...words: string[]): Promise<Finished> =>
  run([executable("ours", "spire-server"), "token", "word", "-file", "-", ...words], { input });

test("a word is made of what the reference's commands print, without its server", async () => {
  const { stdout: token } = await server.cli("token", "generate");
  const { stdout: document } = await server.cli("bundle", "show", "-format", "spiffe");
  const json = join(stage.directory, "bundle.json");
  writeFileSync(json, document);
  const own = ["-trustDomain", TRUST_DOMAIN, "-serverAddress", address];
  const word = await pack(token, "-bundle", bundle, ...own);
  expect(word).toMatchObject({ code: 0, stderr: "" });
  expect(JoinWord.parse(word.stdout).fingerprints).toEqual(
    certificatesFromPem(readFileSync(bundle, "utf8")).map(sha256Fingerprint),
  );
  expect(await pack(token, "-bundle", json, "-format", "spiffe", ...own)).toEqual(word);
  await joins(word.stdout);
}, 60_000);

test("our command line makes one at the reference's socket, if it is told the address", async () => {
  const generate = ["token", "generate", "-spiffeID", `spiffe://${TRUST_DOMAIN}/node`, "-join"];
  expect(await server.cliOf("ours", generate)).toEqual({
    code: 1,
    stdout: "",
    stderr:
      "Error: this server does not say where agents reach it: give -serverAddress HOST:PORT\n",
  });
  const word = await server.cliOf("ours", [...generate, "-serverAddress", address]);
  expect(word.code).toBe(0);
  expect(word.stderr).toStartWith("Warning: the join word names 127.0.0.1, ");
  await joins(word.stdout);
}, 60_000);

test("a server of the reference that the word does not name gets no token", async () => {
  const other = await TestServer.start(stage, "reference");
  const own = ["-trustDomain", TRUST_DOMAIN, "-serverAddress", `127.0.0.1:${other.port}`];
  const { stdout: token } = await server.cli("token", "generate");
  const { stdout: word } = await pack(token, "-bundle", bundle, ...own);
  const daemon = launch(word, stage.room("node"));
  expect(await daemon.exited).toBe(1);
  expect(daemon.lines.join("\n")).toContain("has none of the authorities that the join word names");
  expect(other.daemon.lines.join("\n")).not.toContain("AttestAgent");
  const right = await pack(
    token,
    "-bundle",
    bundle,
    "-trustDomain",
    TRUST_DOMAIN,
    "-serverAddress",
    address,
  );
  await joins(right.stdout);
}, 60_000);

test.each([
  [["-trustDomain", TRUST_DOMAIN, "-serverAddress", "host:1"], "bundle is required"],
  [["-bundle", "BUNDLE", "-serverAddress", "host:1"], "trustDomain is required"],
  [["-bundle", "BUNDLE", "-trustDomain", TRUST_DOMAIN], "serverAddress is required"],
  [
    ["-bundle", "BUNDLE", "-trustDomain", TRUST_DOMAIN, "-serverAddress", "host"],
    "serverAddress must have a port, HOST:PORT",
  ],
  [
    ["-bundle", "BUNDLE", "-trustDomain", "A", "-serverAddress", "host:1"],
    "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores",
  ],
  [
    ["-bundle", "/nowhere", "-trustDomain", TRUST_DOMAIN, "-serverAddress", "host:1"],
    "open /nowhere: no such file or directory",
  ],
])("token word %p: %s", async (words, problem) => {
  const given = words.map((word) => (word === "BUNDLE" ? bundle : word));
  const answer = await pack("token", ...given);
  expect(answer).toEqual({ code: 1, stdout: "", stderr: `Error: ${problem}\n` });
});

test("token word takes no token that cannot be one, and does not quote it", async () => {
  const own = ["-bundle", bundle, "-trustDomain", TRUST_DOMAIN, "-serverAddress", address];
  expect(await pack("not/a-token", ...own)).toEqual({
    code: 1,
    stdout: "",
    stderr: "Error: the join token is not of the right form\n",
  });
});
