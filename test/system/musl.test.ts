/** The executables for musl where there is no other C library, laid out as on Alpine: the main job, by the calls into that library. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ForeignRoot } from "../support/foreign-root.ts";
import { type Daemon, eventually, type Finished, run } from "../support/process.ts";

const ROOT = resolve(import.meta.dir, "../..");
const TARGET = "linux-x64-musl";
const SERVER = "/packages/spire-server";
const AGENT = "/packages/spire-agent";
const NODE = "spiffe://example.org/node";
const NOBODY = 65_534;
/** What the agent knows by calls into the C library, and by Alpine's list of users. */
const SELECTORS = [
  `unix:uid:${NOBODY}`,
  "unix:user:nobody",
  "unix:group:nobody",
  `unix:path:${AGENT}`,
];
const CONFIGURATION = `agent {
  data_dir = "/var/lib/agent"
}
plugins {
  KeyManager "disk" {
    plugin_data {
      directory = "/var/lib/agent"
    }
  }
  NodeAttestor "join_token" {
    plugin_data {}
  }
  WorkloadAttestor "unix" {
    plugin_data {
      discover_workload_path = true
    }
  }
}
`;
const TIMEOUT_MS = 60_000;

const directory = mkdtempSync(join(tmpdir(), "spire-edge-musl-"));
let root: ForeignRoot;
let agent: Daemon;

beforeAll(async () => {
  const build = [join(ROOT, "scripts/build-binary"), "--target", TARGET];
  const env = { HOME: process.env["HOME"] ?? "/root" };
  const { code, stdout, stderr } = await run(build, { env, timeoutMs: 240_000 });
  if (code !== 0) throw new Error(stdout + stderr);
  root = await ForeignRoot.open("musl", join(ROOT, "dist", TARGET), directory);
}, 600_000);

afterAll(async () => {
  await root?.close();
  rmSync(directory, { recursive: true, force: true });
}, TIMEOUT_MS);

test("nothing of another C library is there", async () => {
  const listed = await run(["tar", "-tf", await ForeignRoot.archive("musl")]);
  const files = listed.stdout.split("\n");
  expect(files).toContain("./lib/libc.musl-x86_64.so.1");
  expect(files.filter((path) => /\/libc\.so|ld-linux|linux-gnu/.test(path))).toEqual([]);
});

test(
  "the server starts, and no other in the same directory",
  async () => {
    const command = [SERVER, "run", "-trustDomain", "example.org", "-dataDir", "/var/lib/server"];
    const server = root.daemon(command, join(directory, "server.log"));
    await eventually("the server is healthy", async () => {
      if (!server.running) throw new Error(server.lines.join("\n"));
      return (await root.run([SERVER, "healthcheck"])).code === 0 || undefined;
    });
    const second = await root.run([...command, "-socketPath", "/tmp/second/api.sock"]);
    expect(second.stdout + second.stderr).toContain("server.lock is locked by process");
  },
  TIMEOUT_MS,
);

test(
  "the agent joins by a word, and a process that it recognises gets its identities",
  async () => {
    root.write("/etc/agent.conf", CONFIGURATION);
    const generate = ["token", "generate", "-spiffeID", NODE, "-join"];
    const word = await root.must(SERVER, ...generate, "-serverAddress", "127.0.0.1");
    const selectors = SELECTORS.flatMap((selector) => ["-selector", selector]);
    const id = "spiffe://example.org/db";
    await root.must(SERVER, "entry", "create", "-parentID", NODE, "-spiffeID", id, ...selectors);
    const command = [AGENT, "run", "-config", "/etc/agent.conf", "-join", word.trim()];
    agent = root.daemon(command, join(directory, "agent.log"));
    const fetch = (kind: string, uid: number, ...more: string[]): Promise<Finished> =>
      root.run([AGENT, "api", "fetch", kind, ...more], { uid });
    await eventually("an X509-SVID", async () => {
      if (!agent.running) throw new Error(agent.lines.join("\n"));
      return (await fetch("x509", NOBODY)).stdout.includes(id) || undefined;
    });
    const { stdout } = await fetch("jwt", NOBODY, "-audience", "billing");
    expect(stdout).toContain(`token(${id}):`);
    expect((await fetch("x509", NOBODY - 1)).stderr).toContain("no identity issued");
  },
  TIMEOUT_MS,
);
