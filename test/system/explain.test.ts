/** `spire-agent api explain`: what the operator is told of any process, and what a process is told of itself and of nobody else. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { realpathSync } from "node:fs";
import { join } from "node:path";
import { credentials, Metadata } from "@grpc/grpc-js";
import { callUnary } from "#grpc/client.ts";
import { ExplainClient } from "#proto/spire_edge/explain/v1/explain.ts";
import type { Daemon } from "../support/process.ts";
import { eventually, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const stage = new Stage();
const WORKLOAD = 1;
const STRANGER = 2;
const id = (name: string): string => `spiffe://${TRUST_DOMAIN}/${name}`;
const TIME = "\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d \\+0000 UTC";
let server: TestServer;
let agent: TestAgent;
let admin: string;
let sleeping: Daemon;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
  const room = stage.room("admin");
  admin = join(room, "private", "admin.sock");
  agent = await TestAgent.start(stage, "ours", server, {
    settings: `admin_socket_path = "${admin}"`,
    unix: "discover_workload_path = true\n workload_size_limit = 1000000",
  });
  const create = async (name: string, selectors: string[], ...more: string[]): Promise<void> => {
    await server.entry(id(name), agent.id, selectors, "-entryID", `id-${name}`, ...more);
  };
  await create("backend", ["unix:uid:1", "unix:user:daemon"], "-hint", "main");
  await create("later", ["unix:uid:1"], "-disableX509SVIDPrefetch");
  await create("one-off", ["unix:uid:1", "unix:gid:7"]);
  await create("far", ["unix:uid:9", "unix:gid:9", "docker:label:a:b"]);
  await create("farther", ["unix:uid:9", "unix:gid:9", "unix:user:x", "unix:group:x"]);
  sleeping = stage.daemon(["sleep", "600"], join(room, "sleep.log"), { uid: WORKLOAD });
  await eventually("the SVID is there", async () =>
    (await explained(sleeping.pid)).includes("X509-SVID  : cached") ? true : undefined,
  );
}, 60_000);

afterAll(() => stage.close(), 60_000);

async function explained(pid: number, ...more: string[]): Promise<string> {
  const words = ["api", "explain", "-pid", String(pid), "-socketPath", admin, ...more];
  const told = await run([executable("ours", "spire-agent"), ...words]);
  if (told.code !== 0) throw new Error(told.stderr);
  return told.stdout;
}

describe("the operator", () => {
  test("sees selectors, entries that match, and what the others lack, the nearest first", async () => {
    const text = await explained(sleeping.pid);
    const lines = text
      .replaceAll(new RegExp(TIME, "g"), "TIME")
      .replaceAll(/unix:sha256:\w+/g, "unix:sha256:HASH");
    expect(lines).toBe(`Process ${sleeping.pid}

WorkloadAttestor unix found:
    unix:gid:1
    unix:group:daemon
    unix:path:${realpathSync("/usr/bin/sleep")}
    unix:sha256:HASH
    unix:uid:1
    unix:user:daemon

Entries that match: 2 of the 5 that the agent has

${identity("backend")}
${identity("later")}
Entries that do not match, the nearest first:

  ${id("one-off")}
    Entry ID   : id-one-off
    Has        : unix:uid:1
    Lacks      : unix:gid:7 (it has unix:gid:1)

  ${id("far")}
    Entry ID   : id-far
    Lacks      : docker:label:a:b
    Lacks      : unix:gid:9 (it has unix:gid:1)
    Lacks      : unix:uid:9 (it has unix:uid:1)

  ${id("farther")}
    Entry ID   : id-farther
    Lacks      : unix:gid:9 (it has unix:gid:1)
    Lacks      : unix:group:x (it has unix:group:daemon)
    Lacks      : unix:uid:9 (it has unix:uid:1)
    Lacks      : unix:user:x (it has unix:user:daemon)

Server 127.0.0.1:${server.port}
    Reachable  : yes
    Last sync  : TIME
    Changes    : told by the server as they happen

Agent ${agent.id}
    X509-SVID  : expires TIME, replaced TIME
`);
  });

  function identity(name: "backend" | "later"): string {
    const more =
      name === "backend"
        ? `    Hint       : main
    Selector   : unix:uid:1
    Selector   : unix:user:daemon
    X509-SVID  : cached, expires TIME, replaced TIME
    Lifetime   : 1h0m0s, the server's default_x509_svid_ttl`
        : `    Selector   : unix:uid:1
    X509-SVID  : issued when the workload asks for it`;
    return `  ${id(name)}\n    Entry ID   : id-${name}\n${more}\n`;
  }

  test("sees which entry is left out for its hint, which comes first, and why an SVID ends when it does", async () => {
    const create = (name: string, ...more: string[]): Promise<string> =>
      server.entry(id(name), agent.id, ["unix:uid:3"], "-entryID", `id-${name}`, ...more);
    await create("cut", "-x509SVIDTTL", String(40 * 24 * 3600));
    await create("half", "-x509SVIDTTL", "1800", "-hint", "same");
    await create("same", "-hint", "same");
    await create("zero", "-hint", "default");
    const told = await eventually("all three", async () => {
      const answer = await agent.cli(["api", "fetch", "x509", "-output", "json"], { uid: 3 });
      const { svids = [] } = answer.code === 0 ? JSON.parse(answer.stdout) : {};
      return svids.length === 3 ? svids : undefined;
    });
    const ids = told.map((svid: { spiffe_id: string }) => svid.spiffe_id);
    expect(ids).toEqual([id("zero"), id("cut"), id("half")]);
    const warned = await agent.daemon.line((line) => line.includes("has the hint of another"));
    expect(warned).toContain("entry_id=id-same");
    const three = stage.daemon(["sleep", "600"], join(agent.directory, "three.log"), { uid: 3 });
    const text = await explained(three.pid);
    const [, , , zero = "", cut = "", half = "", same = ""] = text.split(`\n\n`);
    expect(zero).toContain("Lifetime   : 1h0m0s, the server's default_x509_svid_ttl");
    expect(cut).toMatch(/Lifetime {3}: 2\dh\d+m\d+s, cut short: the CA that signed it ends then/);
    expect(half).toContain("Lifetime   : 30m0s, as the entry's x509SVIDTTL says");
    expect(half).not.toContain("Left out");
    expect(same).toContain("Left out   : entry id-half has this hint already");
    await three.stop();
    for (const name of ["cut", "half", "same", "zero"]) {
      await server.cli("entry", "delete", "-entryID", `id-${name}`);
    }
    await eventually("they are gone", async () =>
      (await explained(sleeping.pid)).includes("of the 5 that") ? true : undefined,
    );
  }, 60_000);

  test("gets JSON", async () => {
    const told = JSON.parse(await explained(sleeping.pid, "-output", "json"));
    expect(Object.keys(told)).toEqual([
      ...["agent", "attestors", "entries_count", "identities", "near_entries", "pid", "server"],
    ]);
    const backend = told.identities.find((one: { hint: string }) => one.hint === "main");
    expect(backend).toMatchObject({
      entry_id: "id-backend",
      x509_svid: { begins_at: "0", state: "CACHED", expires_at: expect.stringMatching(/^\d{10}$/) },
    });
    expect(told.near_entries[0]).toEqual({
      entry_id: "id-one-off",
      has: ["unix:uid:1"],
      lacks: ["unix:gid:7"],
      spiffe_id: id("one-off"),
    });
  });

  test("sees why a selector is not given", async () => {
    const large = stage.daemon(
      [executable("ours", "spire-agent"), "api", "watch", "-socketPath", agent.socket],
      join(agent.directory, "large.log"),
    );
    const why = "    unix:sha256 not given: workload ";
    const text = await eventually("it runs", async () => {
      const told = await explained(large.pid);
      return told.includes(why) ? told : undefined;
    });
    expect(text).toContain(
      `${why}${realpathSync(executable("ours", "spire-agent"))} is larger than`,
    );
    expect(text).toContain("    unix:uid:0");
    await large.stop();
  });

  test("is told when there is no such process", async () => {
    const ended = stage.daemon(["true"], join(agent.directory, "true.log"));
    await ended.exited;
    await expect(explained(ended.pid)).rejects.toThrow(`there is no process ${ended.pid}`);
  });

  test("is nobody else", async () => {
    const words = ["api", "explain", "-pid", String(sleeping.pid), "-socketPath", admin];
    const told = await run([executable("ours", "spire-agent"), ...words], { uid: STRANGER });
    expect(told.code).toBe(1);
    expect(told.stderr).toContain("you have no permission to use");
  });
});

describe("a process", () => {
  async function explainedTo(uid: number, ...more: string[]): Promise<string> {
    // Small enough to be hashed: the command itself is above the limit that this agent has.
    const told = await agent.cli(["api", "explain", ...more], { uid });
    if (told.code !== 0) throw new Error(told.stderr);
    return told.stdout;
  }

  test("learns of itself alone", async () => {
    // There is no systemd here that could be asked.
    const own = await TestAgent.start(stage, "ours", server, {
      token: await server.token(),
      nodeAttestor: `NodeAttestor "join_token" {\n plugin_data {}\n }
  WorkloadAttestor "systemd" {\n plugin_data {}\n }`,
    });
    await server.entry(id("mine"), own.id, ["unix:uid:1"]);
    await server.entry(id("others"), own.id, ["unix:uid:1", "unix:gid:770077"]);
    const text = await eventually("the SVID is there", async () => {
      const told = await own.cli(["api", "explain"], { uid: WORKLOAD });
      return told.stdout.includes("cached") ? told.stdout : undefined;
    });
    expect(text).toContain(`Entries that match:\n\n  ${id("mine")}`);
    expect(text).toContain("Server: reachable\n");
    expect(text).toContain(
      "WorkloadAttestor systemd found nothing:\n    the agent's log says why\n",
    );
    const told = await own.cli(["api", "explain", "-output", "json"], { uid: WORKLOAD });
    for (const secret of ["others", "770077", own.id, `127.0.0.1:${server.port}`]) {
      expect(text).not.toContain(secret);
      expect(told.stdout).not.toContain(secret);
    }
    expect(JSON.parse(told.stdout)).toMatchObject({ near_entries: [], entries_count: 0 });
  }, 60_000);

  test("that nobody knows is told so, and who can say more", async () => {
    const text = await explainedTo(STRANGER);
    expect(text).toContain("No entry matches: the process has no identity.");
    expect(text).not.toContain(TRUST_DOMAIN);
  });

  test("cannot ask about another, nor without the security header", async () => {
    const client = new ExplainClient(`unix:${agent.socket}`, credentials.createInsecure());
    const metadata = new Metadata();
    metadata.set("workload.spiffe.io", "true");
    const ask = (pid: number, given?: Metadata): Promise<unknown> =>
      callUnary(client, "explainWorkload", { pid }, { ...(given ? { metadata: given } : {}) });
    const refused = (call: Promise<unknown>): Promise<string> =>
      call.then(
        () => "an answer",
        (error: Error) => error.message,
      );
    expect(await refused(ask(sleeping.pid, metadata))).toContain("nothing but itself");
    expect(await refused(ask(process.pid, metadata))).toContain("nothing but itself");
    expect(await refused(ask(0))).toContain("security header missing");
    client.close();
  });
});

test("a server that is away shows, with what it said and when it is asked again", async () => {
  await server.daemon.stop();
  const text = await eventually("the agent has noticed", async () => {
    const told = await explained(sleeping.pid);
    return told.includes("Reachable  : no") && told.includes("again") ? told : undefined;
  });
  expect(text).toMatch(
    new RegExp(`Last try   : failed ${TIME}; again ${TIME}: .* refuses connections`),
  );
  expect(text).toContain("X509-SVID  : cached");
  const own = await agent.cli(["api", "explain"], { uid: WORKLOAD });
  expect(own.stdout).toContain("Server: cannot be reached\n");
}, 60_000);
