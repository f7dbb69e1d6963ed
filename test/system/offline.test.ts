/**
 * An agent that starts while its server is away: what it kept in memory is served, by systemd's descriptor store or a directory in memory,
 * and by nothing else; without it workloads are told to wait.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Daemon, eventually } from "../support/process.ts";
import { ServiceManager } from "../support/service-manager.ts";
import { executable, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const WORKLOAD = `spiffe://${TRUST_DOMAIN}/db`;
const TMPFS = 0x01021994;
const stage = new Stage();
const memory = mkdtempSync("/dev/shm/spire-edge-");
const managers: ServiceManager[] = [];
let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours");
}, 60_000);

afterAll(async () => {
  for (const manager of managers) await manager.close();
  await stage.close();
  rmSync(memory, { recursive: true, force: true });
}, 60_000);

/** An agent with one entry, for every process of this user. */
async function agentWithEntry(experimental = ""): Promise<TestAgent> {
  const agent = await TestAgent.prepare(stage, "ours", server, {
    settings: `experimental {\n    sync_interval = "1s"\n    ${experimental}\n  }`,
  });
  await server.entry(WORKLOAD, agent.id, [`unix:uid:${process.getuid?.()}`]);
  return agent;
}

function command(agent: TestAgent): string[] {
  return [executable("ours", "spire-agent"), "run", "-config", agent.configuration];
}

const logOf = (agent: TestAgent): string =>
  readFileSync(join(agent.directory, "agent.log"), "utf8");

interface Svid {
  readonly serial: string;
  readonly key: Buffer;
}

/** What a workload gets, or the error of the command. */
async function fetchSvid(agent: TestAgent): Promise<Svid> {
  const fetched = await agent.cli(["api", "fetch", "x509", "-output", "json"]);
  if (fetched.code !== 0) throw new Error(fetched.stderr);
  const response = JSON.parse(fetched.stdout);
  const [{ spiffe_id, x509_svid, x509_svid_key }] = response.svids;
  expect(spiffe_id).toBe(WORKLOAD);
  const { serialNumber } = new X509Certificate(Buffer.from(x509_svid, "base64"));
  return { serial: serialNumber, key: Buffer.from(x509_svid_key, "base64") };
}

const served = (agent: TestAgent): Promise<Svid> =>
  eventually("the workload gets its SVID", () => fetchSvid(agent));

/** Waits until workloads are told to wait. */
const unavailable = (agent: TestAgent): Promise<true> =>
  eventually("the Workload API says that it cannot answer yet", async () => {
    const { stderr } = await agent.cli(["api", "fetch", "x509"]);
    return stderr.includes("the agent cannot reach its server") || undefined;
  });

async function whileServerIsAway(run: () => Promise<void>): Promise<void> {
  await server.daemon.stop();
  try {
    await run();
  } finally {
    await server.start();
  }
}

function serviceManager(name: string): ServiceManager {
  const manager = new ServiceManager(join(stage.directory, `${name}.notify`));
  managers.push(manager);
  return manager;
}

/** Starts the agent under a service manager and waits until a snapshot with its SVID is in the store. */
async function startAndKeep(manager: ServiceManager, agent: TestAgent): Promise<number> {
  const log = join(agent.directory, "agent.log");
  const pid = await manager.start(command(agent), log);
  await served(agent);
  await eventually("a snapshot with the SVID", async () => {
    const [snapshot, ...more] = await manager.stored();
    return (snapshot !== undefined && more.length === 0 && snapshot.size > 1000) || undefined;
  });
  return pid;
}

test("what systemd keeps is served after kill -9, again and again, and reaches no disk", async () => {
  const agent = await agentWithEntry();
  const manager = serviceManager("kept");
  let pid = await startAndKeep(manager, agent);
  const before = await fetchSvid(agent);
  await whileServerIsAway(async () => {
    for (let round = 0; round < 3; round++) {
      expect(await manager.end(pid, "SIGKILL")).toBe(-9);
      pid = await manager.start(command(agent), join(agent.directory, "agent.log"));
      expect((await served(agent)).serial).toBe(before.serial);
      expect((await agent.cli(["healthcheck"])).code).toBe(0);
    }
  });
  const [snapshot] = await manager.stored();
  // F_SEAL_SEAL, SHRINK, GROW and WRITE.
  expect((snapshot?.seals ?? 0) & 0xf).toBe(0xf);
  expect(manager.heard).toContain("READY=1");
  const kept = readdirSync(agent.directory, { recursive: true, withFileTypes: true }).filter(
    (found) => found.isFile(),
  );
  expect(kept.map(({ name }) => name)).toContain("keys.json");
  for (const { parentPath, name } of kept) {
    const content = readFileSync(join(parentPath, name));
    expect(content.includes(before.key)).toBe(false);
    expect(content.includes(before.key.toString("base64"))).toBe(false);
  }
}, 120_000);

test("SIGTERM ends the streams, systemd knows of the stop, and a workload that comes back gets the same", async () => {
  const agent = await agentWithEntry();
  const manager = serviceManager("stopped");
  const pid = await startAndKeep(manager, agent);
  const watch = [executable("ours", "spire-agent"), "api", "watch", "-socketPath", agent.socket];
  const workload = stage.daemon(watch, join(agent.directory, "watch.log"));
  const isSvid = (line: string): boolean => line.includes("SPIFFE ID:");
  await workload.line(isSvid);
  const { serial } = await fetchSvid(agent);
  expect(await manager.end(pid, "SIGTERM")).toBe(0);
  expect(manager.said(pid)).toContain("STOPPING=1");
  const ended = workload.lines.length;
  await whileServerIsAway(async () => {
    await manager.start(command(agent), join(agent.directory, "agent.log"));
    await workload.line(isSvid, 30_000, ended);
    expect((await fetchSvid(agent)).serial).toBe(serial);
  });
  await workload.kill();
}, 120_000);

test("what is torn, not sealed or another agent's is ignored, and the log says so", async () => {
  const other = await agentWithEntry();
  const manager = serviceManager("foreign");
  const pid = await startAndKeep(manager, other);
  await manager.end(pid, "SIGKILL");
  manager.plant("workload-cache-98", Buffer.from(`SPIRE-EDGE-CACHE-1${"x".repeat(100)}`), true);
  manager.plant("workload-cache-99", Buffer.alloc(100), false);
  manager.plant("somebody-elses", Buffer.alloc(100), true);
  const agent = await agentWithEntry();
  // It joined once, so that it starts without the server.
  await agent.start();
  await agent.daemon.stop();
  await whileServerIsAway(async () => {
    await manager.start(command(agent), join(agent.directory, "agent.log"));
    await unavailable(agent);
  });
  const log = logOf(agent);
  expect(log).toContain("of another agent");
  expect(log).toContain("its checksum is wrong");
  expect(log).toContain("it is not sealed memory");
  expect(log).not.toContain("somebody-elses");
  await served(agent);
  await eventually("its own snapshot in place of the others", async () => {
    const names = (await manager.stored()).map(({ name }) => name);
    return (names.length === 2 && names[0] === "somebody-elses") || undefined;
  });
}, 120_000);

test("a directory in memory serves as well, for its owner alone", async () => {
  const directory = join(memory, "cache");
  const agent = await agentWithEntry(`offline_cache_directory = "${directory}"`);
  await agent.start();
  const { serial } = await served(agent);
  const file = join(directory, "workload-cache");
  await eventually("a snapshot with the SVID", async () => statSync(file).size > 1000 || undefined);
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  await whileServerIsAway(async () => {
    await agent.daemon.kill();
    await agent.start();
    expect((await served(agent)).serial).toBe(serial);
  });
  expect(readdirSync(directory)).toEqual(["workload-cache"]);
}, 120_000);

test("switched off, nothing is kept and what was kept is forgotten; the agent waits for its server", async () => {
  const agent = await agentWithEntry("disable_offline_cache = true");
  const manager = serviceManager("off");
  manager.plant("workload-cache-1", Buffer.alloc(100), true);
  const log = join(agent.directory, "agent.log");
  let pid = await manager.start(command(agent), log);
  const { serial } = await served(agent);
  expect(await manager.stored()).toEqual([]);
  await whileServerIsAway(async () => {
    await manager.end(pid, "SIGKILL");
    pid = await manager.start(command(agent), log);
    await unavailable(agent);
    expect((await agent.cli(["healthcheck"])).stderr).toContain("NOT_SERVING");
    expect(manager.heard.filter((line) => line === "READY=1")).toHaveLength(2);
  });
  expect((await served(agent)).serial).not.toBe(serial);
  await manager.end(pid, "SIGTERM");
}, 120_000);

test("a directory that may be a disk is refused by name and with a way out", async () => {
  const directory = [tmpdir(), resolve(import.meta.dir), "/"].find(
    (path) => statfsSync(path).type !== TMPFS,
  );
  const agent = await agentWithEntry(
    `offline_cache_directory = "${join(directory ?? "", `spire-edge-${process.pid}`)}"`,
  );
  const daemon: Daemon = agent.launch();
  try {
    expect(await daemon.exited).toBe(1);
  } finally {
    rmSync(join(directory ?? "", `spire-edge-${process.pid}`), { recursive: true, force: true });
  }
  const said = daemon.lines.join("\n");
  expect(said).toContain(`offline_cache_directory ${directory}`);
  expect(said).toContain("not on a tmpfs or ramfs");
  expect(said).toContain("choose one below /run, or remove the key");
}, 60_000);

test("an agent whose own SVID has expired serves what it has, and joins by a token that is laid out for it", async () => {
  const brief = await TestServer.start(stage, "ours", { settings: 'agent_ttl = "3s"' });
  const directory = join(memory, "expired");
  const agent = await TestAgent.prepare(stage, "ours", brief, {
    settings: `experimental {\n    sync_interval = "1s"\n    offline_cache_directory = "${directory}"\n  }`,
  });
  const file = join(agent.directory, "token");
  writeFileSync(file, agent.token);
  const text = readFileSync(agent.configuration, "utf8");
  writeFileSync(
    agent.configuration,
    text.replace(/join_token = .*/, `join_token_file = "${file}"`),
  );
  await brief.entry(WORKLOAD, agent.id, [`unix:uid:${process.getuid?.()}`]);
  await agent.start();
  const { serial } = await served(agent);
  await eventually(
    "a snapshot with the SVID",
    async () => statSync(join(directory, "workload-cache")).size > 1000 || undefined,
  );
  await brief.daemon.stop();
  await agent.daemon.kill();
  const { svid } = JSON.parse(readFileSync(join(agent.directory, "data/agent-data.json"), "utf8"));
  const leaf = new X509Certificate(Buffer.from(svid[0], "base64"));
  await eventually(
    "the agent's SVID has expired",
    async () => Date.parse(leaf.validTo) < Date.now() || undefined,
  );
  await agent.start();
  expect((await served(agent)).serial).toBe(serial);
  await brief.start();
  // The old token is spent: the agent goes on, and says what it waits for.
  await agent.daemon.line((line) => line.includes("put a new one into the join_token_file"));
  expect((await served(agent)).serial).toBe(serial);
  writeFileSync(file, await brief.token());
  await agent.daemon.line((line) => line.includes("Successfully reattested node"));
}, 120_000);
