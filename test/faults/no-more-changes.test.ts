/**
 * The file system of the data directory takes no changes any more under a running daemon: it was mounted read-only, the kernel gave it up
 * after an error, or it is full. What cannot be stored is refused with the way out, the daemon says at once that it is not healthy and why,
 * and nothing that was acknowledged is lost.
 */
import { afterAll, expect, test } from "bun:test";
import { join } from "node:path";
import { type Daemon, eventually, type Finished, run } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";
import { SmallDisk } from "./small-disk.ts";

const READ_ONLY = "is read-only";
const FULL = "is full: free space on it";
const stage = new Stage();
afterAll(() => stage.close(), 60_000);

/** A server or an agent whose data directory is a disk of its own. */
class OnDisk<Of extends TestServer | TestAgent> {
  readonly of: Of;
  readonly disk: SmallDisk;
  readonly data: string;
  readonly #program: string;

  constructor(of: Of, disk: SmallDisk) {
    this.of = of;
    this.disk = disk;
    this.data = join(of.directory, "data");
    this.#program = executable("ours", of instanceof TestServer ? "spire-server" : "spire-agent");
  }

  /** Starts it and waits until it serves. */
  async start(): Promise<Daemon> {
    const command = [this.#program, "run", "-config", this.of.configuration];
    const log = join(this.of.directory, "daemon.log");
    const daemon = stage.daemon(this.disk.within(command), log);
    await daemon.line((line) => line.includes("network=unix"));
    return daemon;
  }

  healthcheck(): Promise<Finished> {
    return this.of instanceof TestServer
      ? this.of.cli("healthcheck")
      : this.of.cli(["healthcheck"]);
  }

  doctor(): Promise<Finished> {
    const command = [this.#program, "doctor", "-config", this.of.configuration];
    return run(this.disk.within(command));
  }

  async isHealthy(): Promise<void> {
    await eventually(
      "it is healthy",
      async () => (await this.healthcheck()).code === 0 || undefined,
    );
  }

  /** It says so itself, to whoever asks, and in its log. */
  async isUnhealthy(daemon: Daemon, why: string, from: number): Promise<void> {
    const health = await this.healthcheck();
    expect(health.code).toBe(1);
    expect(health.stderr).toContain('returned status "NOT_SERVING": ');
    expect(health.stderr).toContain(`the file system of ${this.data} ${why}`);
    const doctor = await this.doctor();
    expect(doctor.code).toBe(1);
    expect(doctor.stdout).toContain(`not healthy: the file system of ${this.data} ${why}`);
    const isTold = (line: string): boolean =>
      line.includes("Changes cannot be stored") && line.includes(why);
    await daemon.line(isTold, undefined, from);
  }
}

let entries = 0;
function createEntry(server: TestServer): Promise<Finished> {
  entries += 1;
  const id = `spiffe://${TRUST_DOMAIN}/entry-${entries}`;
  const parent = `spiffe://${TRUST_DOMAIN}/node`;
  return server.cli(
    ...["entry", "create", "-parentID", parent, "-selector", "unix:uid:1", "-spiffeID", id],
  );
}

/** The IDs of the entries, as they are listed. */
async function listed(server: TestServer): Promise<readonly string[]> {
  const { stdout } = await server.cli("entry", "show");
  return [...stdout.matchAll(/^SPIFFE ID +: (\S+)$/gm)].map(([, id = ""]) => id).sort();
}

/** Nothing that is to be stored is taken: neither in the database nor in the file of keys. */
async function isRefused(server: TestServer, why: string): Promise<void> {
  for (const refused of [
    await createEntry(server),
    await server.cli("token", "generate"),
    await server.cli("localauthority", "x509", "prepare"),
  ]) {
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(why);
  }
}

async function storesAgain(server: TestServer): Promise<void> {
  const before = await listed(server);
  expect((await createEntry(server)).code).toBe(0);
  expect((await server.cli("localauthority", "x509", "prepare")).code).toBe(0);
  expect(await listed(server)).toHaveLength(before.length + 1);
}

async function serverOn(kind: "tmpfs" | "ext4"): Promise<OnDisk<TestServer>> {
  const server = await TestServer.prepare(stage, "ours");
  const data = join(server.directory, "data");
  return new OnDisk(server, await SmallDisk.mount(stage, data, "4m", kind));
}

test("a server whose data directory is mounted read-only refuses what it cannot store, and stores when that is over", async () => {
  const on = await serverOn("tmpfs");
  const { of: server } = on;
  const daemon = await on.start();
  expect((await createEntry(server)).code).toBe(0);
  const stored = await listed(server);
  const from = daemon.lines.length;
  await on.disk.coverReadOnly();
  await isRefused(server, READ_ONLY);
  await on.isUnhealthy(daemon, READ_ONLY, from);
  expect((await on.doctor()).stdout).toContain("takes no changes: its file system is read-only");
  const mint = ["x509", "mint", "-spiffeID", `spiffe://${TRUST_DOMAIN}/minted`] as const;
  expect((await server.cli(...mint)).code).toBe(0);
  await on.disk.uncover();
  await on.isHealthy();
  // What was refused did not come true behind the caller's back.
  expect(await listed(server)).toEqual(stored);
  await storesAgain(server);
  await daemon.line((line) => line.includes("Changes can be stored again"), undefined, from);
  expect(await daemon.stop()).toBe(0);
}, 60_000);

test("a server whose file system the kernel gave up refuses and says so, and starts with all it acknowledged when that is mended", async () => {
  const on = await serverOn("ext4");
  const { of: server } = on;
  const first = await on.start();
  for (let count = 0; count < 5; count += 1) expect((await createEntry(server)).code).toBe(0);
  const stored = await listed(server);
  const from = first.lines.length;
  await on.disk.abort();
  await isRefused(server, READ_ONLY);
  await on.isUnhealthy(first, READ_ONLY, from);
  expect((await on.doctor()).stdout).toContain("takes no changes: its file system is read-only");
  expect(await listed(server)).toEqual(stored);
  await first.kill();

  await expect(on.start()).rejects.toThrow(READ_ONLY);
  await on.disk.remount();
  await on.start();
  await on.isHealthy();
  expect(await listed(server)).toEqual(stored);
  await storesAgain(server);
}, 60_000);

test("a server whose disk is full is not healthy until there is room", async () => {
  const on = await serverOn("tmpfs");
  const { of: server } = on;
  const daemon = await on.start();
  const from = daemon.lines.length;
  on.disk.fill();
  await on.isUnhealthy(daemon, FULL, from);
  const acknowledged: number[] = [];
  let answer = await createEntry(server);
  // What a log has room for already is still taken, and must be there in the end.
  for (; answer.code === 0 && acknowledged.length < 1000; answer = await createEntry(server)) {
    acknowledged.push(entries);
  }
  expect(answer.code).toBe(1);
  expect(answer.stderr).toContain(FULL);
  const prepare = await server.cli("localauthority", "x509", "prepare");
  expect(prepare.code).toBe(1);
  expect(prepare.stderr).toContain(FULL);
  on.disk.free();
  await on.isHealthy();
  expect(await listed(server)).toEqual(
    acknowledged.map((number) => `spiffe://${TRUST_DOMAIN}/entry-${number}`).sort(),
  );
  await storesAgain(server);
  await daemon.line((line) => line.includes("Changes can be stored again"), undefined, from);
}, 60_000);

test.each([
  ["mounted read-only", READ_ONLY],
  ["full", FULL],
])(
  "an agent whose data directory is %s says that it is not healthy, and serves on",
  async (state, why) => {
    const server = await TestServer.start(stage, "ours");
    const agent = await TestAgent.prepare(stage, "ours", server);
    await server.entry(`spiffe://${TRUST_DOMAIN}/root`, agent.id, ["unix:uid:0"]);
    const disk = await SmallDisk.mount(stage, join(agent.directory, "data"), "4m");
    const on = new OnDisk(agent, disk);
    const daemon = await on.start();
    const serves = (): Promise<true> =>
      eventually("it serves", async () =>
        (await agent.cli(["api", "fetch", "x509"])).code === 0 ? true : undefined,
      );
    await serves();
    const from = daemon.lines.length;
    if (state === "full") disk.fill();
    else await disk.coverReadOnly();
    await on.isUnhealthy(daemon, why, from);
    const stranger = await agent.cli(["healthcheck"], { uid: 65_534 });
    expect(stranger.code).toBe(1);
    expect(stranger.stderr).not.toContain(agent.directory);
    await serves();
    if (state === "full") disk.free();
    else await disk.uncover();
    await on.isHealthy();
    await daemon.line((line) => line.includes("Changes can be stored again"), undefined, from);
    await serves();
  },
  60_000,
);
