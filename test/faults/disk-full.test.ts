/**
 * Disks that are full: what cannot be written is refused with the path and the way out, what was stored stays, the daemons go on, and work
 * again when there is room. Each daemon has a disk of a megabyte that nobody else sees.
 */
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { copyFileSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { callUnary } from "#grpc/client.ts";
import { Entry } from "#proto/spire/api/types/entry.ts";
import { type Clients, closeClients, localClients } from "#server/server.fixture.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { type Daemon, eventually } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";
import { SmallDisk } from "./small-disk.ts";

const MANY = 1000;
const stage = new Stage();
afterAll(() => stage.close(), 60_000);

/** A server or an agent whose data directory is a small disk. */
class OnSmallDisk {
  readonly disk: SmallDisk;
  readonly data: string;
  readonly #name: "spire-server" | "spire-agent";
  readonly #of: TestServer | TestAgent;

  private constructor(of: TestServer | TestAgent, disk: SmallDisk) {
    this.disk = disk;
    this.data = join(of.directory, "data");
    this.#name = of instanceof TestServer ? "spire-server" : "spire-agent";
    this.#of = of;
  }

  static async make(of: TestServer | TestAgent, size = "1m"): Promise<OnSmallDisk> {
    return new OnSmallDisk(of, await SmallDisk.mount(stage, join(of.directory, "data"), size));
  }

  launch(): Daemon {
    const { directory, configuration } = this.#of;
    const command = [executable("ours", this.#name), "run", "-config", configuration];
    return stage.daemon(this.disk.within(command), join(directory, "daemon.log"));
  }

  /** Starts it and waits until it serves. */
  async start(): Promise<Daemon> {
    const daemon = this.launch();
    await daemon.line((line) => line.includes("network=unix"));
    return daemon;
  }

  /** Whether a line of the log names a file, whose name begins like this, as one that could not be written, and says what to do. */
  complainsOf(name: string): (line: string) => boolean {
    const path = join(this.data, name);
    const hint = `the file system of ${this.data} is full: free space on it`;
    return (line) => line.includes("level=error") && line.includes(path) && line.includes(hint);
  }
}

/** Entries with what was acknowledged of them, by ID. */
class Entries {
  readonly stored: Map<string, string> = new Map();
  readonly #clients: Clients;

  constructor(clients: Clients) {
    this.#clients = clients;
  }

  /** Stores a new entry, a large one. @returns the status code */
  async create(): Promise<number> {
    const id = `entry-${this.stored.size}`;
    const hint = "x".repeat(1000);
    const { results } = await callUnary(this.#clients.entry, "batchCreateEntry", {
      entries: [this.#entry(id, hint)],
      outputMask: undefined,
    }).catch((error) => ({ results: [{ status: { code: error.code as number } }] }));
    const code = results[0]?.status?.code ?? StatusCode.UNKNOWN;
    if (code === StatusCode.OK) this.stored.set(id, hint);
    return code;
  }

  /** Stores an entry anew, no larger than it was. @returns the status code */
  async update(id: string): Promise<number> {
    const hint = "y".repeat(1000);
    const { results } = await callUnary(this.#clients.entry, "batchUpdateEntry", {
      entries: [this.#entry(id, hint)],
      inputMask: undefined,
      outputMask: undefined,
    });
    const code = results[0]?.status?.code ?? StatusCode.UNKNOWN;
    if (code === StatusCode.OK) this.stored.set(id, hint);
    return code;
  }

  async list(): Promise<Map<string, string>> {
    const all = { filter: undefined, outputMask: undefined, pageSize: 0, pageToken: "" };
    const { entries } = await callUnary(this.#clients.entry, "listEntries", all);
    return new Map(entries.map(({ id, hint }) => [id, hint]));
  }

  #entry(id: string, hint: string): Entry {
    return Entry.fromPartial({
      id,
      hint,
      spiffeId: { trustDomain: TRUST_DOMAIN, path: `/${id}` },
      parentId: { trustDomain: TRUST_DOMAIN, path: "/node" },
      selectors: [{ type: "unix", value: "uid:1" }],
    });
  }
}

test("a server refuses what it cannot store, loses nothing, starts again, and stores when there is room", async () => {
  const server = await TestServer.prepare(stage, "ours");
  const small = await OnSmallDisk.make(server);
  const first = await small.start();
  const clients = localClients(server.socket);
  const entries = new Entries(clients);
  for (let count = 0; count < 20; count += 1) expect(await entries.create()).toBe(StatusCode.OK);
  const { prepared_authority: prepared } = await server.json("localauthority", "x509", "prepare");
  const authorities = await server.json("localauthority", "x509", "show");

  small.disk.fill();
  let code: number = StatusCode.OK;
  while (code === StatusCode.OK && entries.stored.size < MANY) code = await entries.create();
  expect(code).toBe(StatusCode.RESOURCE_EXHAUSTED);
  expect((await server.cli("localauthority", "x509", "prepare")).code).toBe(1);
  expect(first.lines.some(small.complainsOf("datastore.sqlite3"))).toBe(true);
  expect(first.lines.some(small.complainsOf("keys.json"))).toBe(true);
  const mint = ["x509", "mint", "-spiffeID", `spiffe://${TRUST_DOMAIN}/minted`] as const;
  expect((await server.cli(...mint)).code).toBe(0);
  expect(await entries.list()).toEqual(entries.stored);
  await first.kill();

  const second = await small.start();
  expect(await entries.list()).toEqual(entries.stored);
  expect(await server.json("localauthority", "x509", "show")).toEqual(authorities);
  expect((await server.cli(...mint)).code).toBe(0);
  small.disk.free();
  for (let count = 0; count < 20; count += 1) expect(await entries.create()).toBe(StatusCode.OK);
  const { authority_id: id } = prepared as { authority_id: string };
  const activate = ["localauthority", "x509", "activate", "-authorityID", id] as const;
  expect((await server.cli(...activate)).code).toBe(0);
  expect((await server.cli("localauthority", "x509", "prepare")).code).toBe(0);
  expect(await entries.list()).toEqual(entries.stored);
  closeClients(clients);
  expect(await second.stop()).toBe(0);
  const copy = join(server.directory, "copy.sqlite3");
  copyFileSync(small.disk.reach("datastore.sqlite3"), copy);
  const db = new Database(copy, { readonly: true });
  expect(db.query("PRAGMA integrity_check").values()).toEqual([["ok"]]);
  db.close();
}, 60_000);

test("the write-ahead log does not take the space that a small disk has for entries", async () => {
  const server = await TestServer.prepare(stage, "ours");
  const small = await OnSmallDisk.make(server);
  await small.start();
  const clients = localClients(server.socket);
  const entries = new Entries(clients);
  // Each on its own, so that each is a commit.
  for (let count = 0; count < 100; count += 1) expect(await entries.create()).toBe(StatusCode.OK);
  closeClients(clients);
}, 60_000);

test("a log that has grown is used again when others have filled the disk", async () => {
  const server = await TestServer.prepare(stage, "ours");
  // With so much room the log is left to grow.
  const small = await OnSmallDisk.make(server, "16m");
  const first = await small.start();
  const clients = localClients(server.socket);
  const entries = new Entries(clients);
  for (let count = 0; count < 20; count += 1) expect(await entries.create()).toBe(StatusCode.OK);
  await first.stop();
  await small.start();
  const change = async (): Promise<void> => {
    for (const id of entries.stored.keys()) expect(await entries.update(id)).toBe(StatusCode.OK);
  };
  await change();
  small.disk.fill();
  await change();
  expect(await entries.list()).toEqual(entries.stored);
  closeClients(clients);
}, 60_000);

test.each([0, 32, 148, 180])(
  "a server that has %i KiB for its first start says so, and starts when there is room",
  async (kibibytes) => {
    const server = await TestServer.prepare(stage, "ours");
    const small = await OnSmallDisk.make(server);
    small.disk.fill(kibibytes * 1024);
    const daemon = small.launch();
    expect(await daemon.exited).toBe(1);
    expect(daemon.lines.some(small.complainsOf(""))).toBe(true);
    small.disk.free();
    await small.start();
  },
  60_000,
);

test("an agent goes on with what it has, loses nothing, and catches up when there is room", async () => {
  const server = await TestServer.start(stage, "ours", { settings: 'agent_ttl = "16s"' });
  const agent = await TestAgent.prepare(stage, "ours", server, {
    settings: 'experimental { sync_interval = "1s" }',
  });
  const uid = process.getuid?.();
  await server.entry(`spiffe://${TRUST_DOMAIN}/workload`, agent.id, [`unix:uid:${uid}`]);
  const small = await OnSmallDisk.make(agent);
  const read = (name: string): string => readFileSync(small.disk.reach(name), "utf8");
  const isServed = async (): Promise<true | undefined> => {
    const fetched = await agent.cli(["api", "fetch", "x509"]);
    return fetched.stdout.includes("/workload") || undefined;
  };
  const first = await small.start();
  await eventually("the workload is served", isServed);

  small.disk.fill();
  const before = [read("agent-data.json"), read("keys.json")];
  await first.line(small.complainsOf("keys.json"));
  // It trusts the next authority at once, and would write that down too.
  await server.json("localauthority", "x509", "prepare");
  await first.line(small.complainsOf("agent-data.json"));
  expect([read("agent-data.json"), read("keys.json")]).toEqual(before);
  // The agent goes on trying, and a try has its draft for a moment.
  await eventually("no draft is left", async () => {
    const names = readdirSync(small.disk.reach());
    return !names.some((name) => name.endsWith(".new")) || undefined;
  });
  await eventually("the workload is still served", isServed);
  // A crash at the worst moment: it starts without a byte to spare.
  await first.kill();
  const second = await small.start();
  expect(second.lines.join("\n")).toContain("SVID loaded");
  await eventually("the workload is served again", isServed);

  small.disk.free();
  await second.line((line) => line.includes("Successfully rotated agent SVID"));
  expect(JSON.parse(read("agent-data.json"))).toMatchObject({ bundle: { length: 2 } });
  expect(await second.stop()).toBe(0);
}, 60_000);

test("a log that cannot be written stops neither daemon, and is told once on standard error", async () => {
  const settings = 'log_file = "/dev/full"';
  const server = await TestServer.start(stage, "ours", { settings });
  const agent = await TestAgent.start(stage, "ours", server, { settings });
  for (const { daemon } of [server, agent]) {
    expect(daemon.lines).toEqual([
      expect.stringContaining("log lines are lost until the log can be written again: ENOSPC"),
    ]);
  }
}, 60_000);
