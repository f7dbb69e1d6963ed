/** Attestors that are kept busy, that cannot see, or that get no answer: nobody else waits, nobody gets more, and nobody is turned away for good. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chownSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  truncateSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { credentials } from "@grpc/grpc-js";
import { callUnary } from "#grpc/client.ts";
import { DiscoveryRequest } from "#proto/envoy/service/discovery/v3/discovery.ts";
import { SecretDiscoveryServiceClient } from "#proto/envoy/service/secret/v3/sds.ts";
import {
  DelegatedIdentityClient,
  FetchJWTSVIDsRequest,
} from "#proto/spire/api/agent/delegatedidentity/v1/delegatedidentity.ts";
import { type Daemon, eventually, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const NOBODY = 65_534;
/** Of an agent that is not root, and may see nothing of others. */
const PLAIN = 61_234;
const GIB = 1024 ** 3;
const idOf = (name: string): string => `spiffe://${TRUST_DOMAIN}/${name}`;
const CLI = executable("ours", "spire-agent");
/** Of the system, as one in a home is for its owner alone. */
const python = realpathSync("/usr/bin/python3");
const ENV = { PYTHONHOME: "/usr", PYTHONDONTWRITEBYTECODE: "1" };

const stage = new Stage();
let server: TestServer;
let room: string;

beforeAll(async () => {
  room = stage.room("programs");
  for (const file of ["attacks/ask.py", "attacks/ask_often.py", "support/workload_call.py"]) {
    mkdirSync(join(room, dirname(file)), { recursive: true });
    copyFileSync(join(import.meta.dir, "..", file), join(room, file));
  }
  server = await TestServer.start(stage, "ours");
}, 60_000);

afterAll(() => stage.close(), 60_000);

/** Starts an agent by another command, and registers nobody's identity there. */
async function started(
  agent: TestAgent,
  prefix: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Daemon> {
  const words = [...prefix, CLI, "run", "-config", agent.configuration];
  const daemon = stage.daemon(words, join(agent.directory, "agent.log"), { env });
  await daemon.line((line) => line.includes("Starting agent APIs"), 30_000);
  await server.entry(idOf("nobody"), agent.id, [`unix:uid:${NOBODY}`, `unix:gid:${NOBODY}`]);
  return daemon;
}

function ask(agent: TestAgent, uid: number, prefix: readonly string[] = []): Promise<string> {
  const own = ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
  const words = [...prefix, ...own, python, join(room, "attacks/ask.py"), agent.socket];
  return run(words, { env: ENV }).then(({ stdout }) => stdout.trim());
}

const comesTo = (agent: TestAgent, identity: string, prefix: readonly string[] = []) =>
  eventually("the identity", async () =>
    (await ask(agent, NOBODY, prefix)) === identity ? true : undefined,
  );

/** All that a process has read, in bytes. */
function bytesRead({ pid }: Daemon): number {
  return Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "latin1"))?.[1]);
}

test.each([
  ["of four terabytes, all of them a hole", 4096 * GIB, "0"],
  ["of two gigabytes, enough of them stored", 2 * GIB, `${300 * 1024 ** 2}`],
])(
  "a thousand calls by an executable %s: others are served, and all ends with the callers",
  async (_what, size, stored) => {
    const agent = await TestAgent.start(stage, "ours", server, {
      unix: "discover_workload_path = true\n workload_size_limit = 0",
    });
    await server.entry(idOf("root"), agent.id, ["unix:uid:0"]);
    const directory = stage.room("large");
    const large = join(directory, "program");
    copyFileSync(python, large);
    if (stored !== "0") await run(["fallocate", "-l", stored, large]);
    truncateSync(large, size);
    chownSync(large, NOBODY, NOBODY);
    await eventually("root's identity", async () =>
      (await ask(agent, 0)) === idOf("root") ? true : undefined,
    );
    const words = [large, join(room, "attacks/ask_often.py"), agent.socket, "10", "100"];
    const callers = stage.daemon(words, join(directory, "callers.log"), { uid: NOBODY, env: ENV });
    await callers.line((line) => line === "asked", 30_000);
    for (let again = 0; again < 3; again++) expect(await ask(agent, 0)).toBe(idOf("root"));
    await callers.stop();
    await eventually("an agent that reads nothing any more", async () => {
      const before = bytesRead(agent.daemon);
      await Bun.sleep(1000);
      return bytesRead(agent.daemon) - before < 16 * 1024 ** 2 || undefined;
    });
    await agent.daemon.stop();
  },
  90_000,
);

test("where an attestor gets no answer, a workload without an entry may have one: it is told to try again", async () => {
  const admin = join(stage.room("admin"), "private", "admin.sock");
  const agent = await TestAgent.prepare(stage, "ours", server, {
    keyManager: 'KeyManager "memory" {}\n  WorkloadAttestor "systemd" {}',
    settings: `admin_socket_path = "${admin}"\n authorized_delegates = ["${idOf("delegate")}"]`,
  });
  const nowhere = { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${join(agent.directory, "nobody")}` };
  await started(agent, [], nowhere);
  await comesTo(agent, idOf("nobody"));
  const fetches = [
    ["api", "fetch", "x509"],
    ["api", "fetch", "jwt", "-audience", "a"],
  ];
  for (const words of fetches) {
    const told = await agent.cli([...words, "-timeout", "5s"], { uid: 3 });
    expect(told.code).toBe(1);
    expect(told.stderr).not.toContain("PermissionDenied");
    expect(told.stderr).toMatch(/Unavailable.*systemd/);
  }
  const insecure = credentials.createInsecure();
  const sds = new SecretDiscoveryServiceClient(`unix:${agent.socket}`, insecure);
  const delegates = new DelegatedIdentityClient(`unix:${admin}`, insecure);
  const refusals = [
    callUnary(sds, "fetchSecrets", DiscoveryRequest.fromPartial({})),
    callUnary(delegates, "fetchJwtsviDs", FetchJWTSVIDsRequest.fromPartial({ audience: ["a"] })),
  ].map((call) => call.catch(String));
  for (const refusal of await Promise.all(refusals)) expect(refusal).toMatch(/again.*systemd/);
  sds.close();
  delegates.close();
}, 60_000);

test("where /proc hides who calls, uid and gid are known from the socket, and what is not known is not given", async () => {
  const agent = await TestAgent.prepare(stage, "ours", server, {
    unix: "discover_workload_path = true",
  });
  for (const path of [agent.directory, join(agent.directory, "data"), agent.configuration]) {
    chownSync(path, PLAIN, PLAIN);
  }
  for (const name of readdirSync(agent.directory))
    chownSync(join(agent.directory, name), PLAIN, PLAIN);
  const commands = 'mount -t proc -o hidepid=invisible proc /proc; exec setpriv "$@"';
  const hiding = ["unshare", "-m", "--propagation", "private", "sh", "-ec", commands, "-"];
  await started(agent, [...hiding, `--reuid=${PLAIN}`, `--regid=${PLAIN}`, "--clear-groups"]);
  await comesTo(agent, idOf("nobody"));
  const explained = await agent.cli(["api", "explain"], { uid: NOBODY });
  for (const name of ["supplementary_gid", "path", "sha256"]) {
    expect(explained.stdout).toMatch(new RegExp(`unix:${name} not given: /proc does not show`));
  }
}, 60_000);

test("a /proc of another pid namespace names nobody: what is behind a number there is another process", async () => {
  const agent = await TestAgent.prepare(stage, "ours", server, {
    unix: "discover_workload_path = true",
  });
  const daemon = await started(agent, ["unshare", "-p", "-f", "--kill-child"]);
  const inside = ["nsenter", `--pid=/proc/${daemon.pid}/ns/pid_for_children`];
  await comesTo(agent, idOf("nobody"), inside);
  // Who is outside has no number there at all: the agent does not know whom it would serve.
  expect(await ask(agent, NOBODY)).toBe("nothing");
}, 60_000);
