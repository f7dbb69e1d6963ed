/** Commands at a socket behind which nobody works: each ends by itself, with 1, and says in words why. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { type Finished, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer } from "../support/spire.ts";

const AGENT = executable("ours", "spire-agent");
const SERVER = executable("ours", "spire-server");
const stage = new Stage();
const sockets = stage.room("sockets");
/** Takes connections and says nothing, as systemd does for an agent that has not joined, or a process that stands still. */
const SILENT = join(sockets, "silent.sock");
const NOBODY = join(sockets, "nobody.sock");
let silent: Server;

beforeAll(async () => {
  silent = createServer((socket) => socket.on("error", () => undefined));
  const { promise, resolve } = Promise.withResolvers<void>();
  silent.listen(SILENT, resolve);
  await promise;
});

afterAll(async () => {
  silent.close();
  await stage.close();
}, 60_000);

const COMMANDS: readonly (readonly [string, readonly string[]])[] = [
  [AGENT, ["healthcheck"]],
  [AGENT, ["healthcheck", "-shallow"]],
  [AGENT, ["api", "fetch", "x509"]],
  [AGENT, ["api", "fetch", "jwt", "-audience", "a"]],
  [AGENT, ["api", "explain"]],
  [AGENT, ["logger", "get"]],
  [AGENT, ["debug", "getinfo"]],
  [SERVER, ["healthcheck"]],
  [SERVER, ["entry", "show"]],
  [SERVER, ["agent", "list"]],
  [SERVER, ["token", "generate", "-join"]],
  [SERVER, ["bundle", "show"]],
  [SERVER, ["logger", "get"]],
];

async function tried(
  [program, words]: readonly [string, readonly string[]],
  socket: string,
): Promise<Finished & { readonly seconds: number }> {
  const since = performance.now();
  const answer = await run([program, ...words, "-socketPath", socket], { timeoutMs: 50_000 });
  return { ...answer, seconds: (performance.now() - since) / 1000 };
}

test("nothing answers: every command ends after five seconds", async () => {
  const answers = await Promise.all(COMMANDS.map((command) => tried(command, SILENT)));
  for (const [index, { code, stderr, seconds }] of answers.entries()) {
    const words = COMMANDS[index]?.[1].join(" ");
    expect({ words, code, stderr }).toEqual({
      words,
      code: 1,
      stderr: expect.stringContaining(`nothing answered on ${SILENT} within 5 s: spire-`),
    });
    expect(seconds).toBeGreaterThan(4);
    expect(seconds).toBeLessThan(45);
  }
}, 60_000);

test("nobody listens: every command names the program that is to run", async () => {
  for (const command of COMMANDS) {
    const { code, stderr } = await tried(command, NOBODY);
    const kind = command[0] === AGENT ? "agent" : "server";
    const words = command[1].join(" ");
    expect({ words, code, stderr }).toEqual({
      words,
      code: 1,
      stderr: expect.stringContaining(`no ${kind} listens on ${NOBODY}: is spire-${kind}`),
    });
  }
}, 60_000);

test("a process that stands still is given up as well", async () => {
  const server = await TestServer.start(stage, "ours");
  server.daemon.signal("SIGSTOP");
  try {
    const { code, stderr } = await server.cli("entry", "show");
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: `Error: error fetching entries: nothing answered on ${server.socket} within 5 s: spire-server is starting, or stuck; its log may say why\n`,
    });
  } finally {
    server.daemon.signal("SIGCONT");
  }
  await server.daemon.stop();
}, 60_000);

test("a socket that one may not use", async () => {
  chmodSync(SILENT, 0o600);
  const words = [SERVER, "entry", "show", "-socketPath", SILENT];
  const { code, stderr } = await run(words, { uid: 1 });
  chmodSync(SILENT, 0o777);
  expect(code).toBe(1);
  expect(stderr).toContain(`you have no permission to use ${SILENT}: run this as root`);
});

describe("a server that cannot listen", () => {
  test("says so once, where both outputs are one", async () => {
    const first = await TestServer.start(stage, "ours");
    const second = await TestServer.prepare(stage, "ours", { port: first.port });
    const command = `"$0" run -config "$1" 2>&1`;
    const { code, stdout } = await run(["sh", "-c", command, SERVER, second.configuration]);
    expect(code).toBe(1);
    const problem = `cannot listen on 127.0.0.1:${first.port}: another process is using the address`;
    expect(stdout.split(problem)).toHaveLength(2);
    expect(stdout.split("Server crashed")).toHaveLength(2);
    await first.daemon.stop();
  }, 60_000);
});

test("an agent that joins says why it cannot, once, and once more when the reason changes", async () => {
  const server = await TestServer.start(stage, "ours");
  const agent = await TestAgent.prepare(stage, "ours", server, { serverPort: 1 });
  const daemon = agent.launch();
  const reason = "127.0.0.1:1 refuses connections: no server listens there";
  await daemon.line((line) => line.includes("level=warning") && line.includes(reason));
  // The second try, told at level debug alone.
  await daemon.line((line) => line.includes("level=debug") && line.includes(reason));
  const warnings = daemon.lines.filter((line) => line.includes("Failed to attest, will retry"));
  expect(warnings.filter((line) => line.includes("level=warning"))).toHaveLength(1);
  await daemon.kill();
  await server.daemon.stop();
}, 60_000);
