/**
 * A socket that is shared into another pid namespace, as between containers: the kernel then gives no pid of the caller. The server needs none
 * of an operator, who was let in to the socket. The agent cannot say who calls, and refuses.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { type Daemon, eventually, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer } from "../support/spire.ts";

/** The command as process 1 of a pid namespace of its own. */
const apart = (command: readonly string[]): readonly string[] => [
  "unshare",
  "--pid",
  "--fork",
  "--mount-proc",
  "--kill-child",
  ...command,
];

const stage = new Stage();
let server: TestServer;
let daemon: Daemon;

beforeAll(async () => {
  server = await TestServer.prepare(stage, "ours", { settings: "audit_log_enabled = true" });
  daemon = stage.daemon(
    apart([executable("ours", "spire-server"), "run", "-config", server.configuration]),
    join(server.directory, "server.log"),
    { cwd: server.directory },
  );
  await eventually("server healthy", async () => {
    if (!daemon.running) throw new Error(daemon.lines.slice(-10).join("\n"));
    return (await server.cli("healthcheck")).code === 0 ? true : undefined;
  });
}, 60_000);

afterAll(() => stage.close(), 60_000);

test("operators of another pid namespace are served, and the audit log says where they are", async () => {
  await server.entry("spiffe://example.org/a", "spiffe://example.org/host", ["unix:uid:0"]);
  const created = daemon.lines.filter(
    (line) => line.includes("BatchCreateEntry") && line.includes("type=audit"),
  );
  expect(created).toHaveLength(1);
  expect(created[0]).toContain("caller_uid=0");
  expect(created[0]).toContain("caller_pid_namespace=other");
  expect(created[0]).not.toContain("caller_path");
});

test("workloads of another pid namespace are refused by the agent", async () => {
  const agent = await TestAgent.prepare(stage, "ours", server);
  await server.entry("spiffe://example.org/b", agent.id, ["unix:uid:0"]);
  const refusing = stage.daemon(
    apart([executable("ours", "spire-agent"), "run", "-config", agent.configuration]),
    join(agent.directory, "agent.log"),
    { cwd: agent.directory },
  );
  await refusing.line((line) => line.includes("Starting agent APIs"));
  const fetch = ["api", "fetch", "x509", "-timeout", "3s", "-socketPath", agent.socket];
  await eventually("a refusal", async () => {
    expect((await run([executable("ours", "spire-agent"), ...fetch])).code).toBe(1);
    return refusing.lines.some((line) => line.includes("lives outside this pid namespace"))
      ? true
      : undefined;
  });
});
