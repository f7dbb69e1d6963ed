/** One round of an implementation's agent, below a server of its own kind. */

import { spawn } from "node:child_process";
import { appendFileSync, chmodSync, copyFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { eventually, run } from "../../support/process.ts";
import {
  executable,
  type Implementation,
  Stage,
  TestAgent,
  type TestServer,
  TRUST_DOMAIN,
} from "../../support/spire.ts";
import type { Effort } from "./effort.ts";
import type { Measured } from "./figures.ts";
import {
  callsPerSecond,
  idleMinute,
  LOAD,
  LOAD_ENV,
  load,
  loadCommand,
  readyAfter,
  residentMegabytes,
  startTime,
} from "./load.ts";
import { benchServer } from "./server.ts";

/** Size of the workload's executable that is hashed. */
const EXECUTABLE_BYTES = 20_000_000;

/** So long a file counts as just changed, and some more. */
const FRESH_MS = 2500;

const uid = (): number => process.getuid?.() ?? 0;

export async function measureAgent(
  implementation: Implementation,
  effort: Effort,
): Promise<Measured> {
  const stage = new Stage();
  const measured: Measured = new Map();
  try {
    const server = await benchServer(stage, implementation);
    await server.start();
    await plainAgent(stage, server, effort, measured);
    await hashingAgent(stage, server, effort, measured);
    await filledAgent(stage, server, effort, measured);
  } finally {
    await stage.close();
  }
  for (const [figure, name] of [
    ["serverSize", "spire-server"],
    ["agentSize", "spire-agent"],
  ] as const) {
    measured.set(figure, statSync(executable(implementation, name)).size / 1e6);
  }
  return measured;
}

async function served(agent: TestAgent): Promise<void> {
  await eventually("an SVID", async () => {
    const fetched = await agent.cli(["api", "fetch", "x509"]);
    return fetched.code === 0 ? true : undefined;
  });
}

async function plainAgent(
  stage: Stage,
  server: TestServer,
  effort: Effort,
  measured: Measured,
): Promise<void> {
  const agent = await measureStarts(stage, server, effort, measured);
  await agent.start();
  await served(agent);
  await Bun.sleep(effort.settleMs);
  measured.set("agentMemory", residentMegabytes(agent.daemon.pid));
  measured.set("agentAnonymous", residentMegabytes(agent.daemon.pid, "RssAnon"));
  if (effort.idleSeconds > 0) {
    measured.set("agentIdle", await idleMinute(agent.daemon.pid, effort.idleSeconds));
  }
  const words = { socket: agent.socket, milliseconds: effort.milliseconds };
  const fetched = await load("fetch-x509", words);
  measured.set("fetchP50", fetched.p50);
  measured.set("fetchP99", fetched.p99);
  measured.set("fetchJwt", callsPerSecond(await load("fetch-jwt", words)));
  await agent.daemon.stop();
  await agent.start();
  await served(agent);
  measured.set("agentMemoryStreams", await memoryWithStreams(agent, effort));
  await agent.daemon.stop();
}

/** @returns an agent that has an entry and an SVID from its last run */
async function measureStarts(
  stage: Stage,
  server: TestServer,
  effort: Effort,
  measured: Measured,
): Promise<TestAgent> {
  // The program must be in memory: how long the disk takes is not its doing.
  await run([executable(server.implementation, "spire-agent"), "--version"]);
  const prepare = (): Promise<TestAgent> =>
    TestAgent.prepare(stage, server.implementation, server, { settings: `log_level = "INFO"` });
  const again = (one: TestAgent): Promise<number> => readyAfter(one.socket, () => one.launch());
  const first = async (): Promise<number> => again(await prepare());
  measured.set("agentFirstStart", await startTime(effort.starts, first));
  const agent = await prepare();
  await again(agent);
  await server.entry(`spiffe://${TRUST_DOMAIN}/bench`, agent.id, [`unix:uid:${uid()}`]);
  measured.set("agentStart", await startTime(effort.starts, () => again(agent)));
  return agent;
}

async function memoryWithStreams(agent: TestAgent, effort: Effort): Promise<number> {
  const [program = "", ...words] = loadCommand("streams", {
    socket: agent.socket,
    count: effort.streams,
  });
  const holder = spawn(program, words, { stdio: ["pipe", "pipe", "inherit"] });
  const opened = Promise.withResolvers<void>();
  createInterface({ input: holder.stdout }).once("line", () => opened.resolve());
  holder.once("exit", () => opened.reject(new Error("the streams ended")));
  await opened.promise;
  await Bun.sleep(effort.settleMs);
  const resident = residentMegabytes(agent.daemon.pid);
  holder.stdin.end();
  return resident;
}

/** A workload that is known by the path and the hash of its executable, which is large. */
async function hashingAgent(
  stage: Stage,
  server: TestServer,
  effort: Effort,
  measured: Measured,
): Promise<void> {
  const workload = join(stage.room("workload"), "load");
  copyFileSync(LOAD, workload);
  appendFileSync(workload, Buffer.alloc(Math.max(0, EXECUTABLE_BYTES - statSync(LOAD).size)));
  chmodSync(workload, 0o755);
  const agent = await TestAgent.start(stage, server.implementation, server, {
    settings: `log_level = "INFO"`,
    unix: "discover_workload_path = true",
  });
  await server.entry(`spiffe://${TRUST_DOMAIN}/hashed`, agent.id, [`unix:path:${workload}`]);
  const fetch = async (name: string, milliseconds: number): Promise<number | undefined> => {
    const words = loadCommand(name, { socket: agent.socket, milliseconds }).slice(1);
    const done = await run([workload, ...words], { env: LOAD_ENV, timeoutMs: 120_000 });
    return done.code === 0 ? callsPerSecond(JSON.parse(done.stdout)) : undefined;
  };
  await eventually("an SVID", () => fetch("fetch-x509", 1));
  // A file that changed just now is hashed each time, as it may change again within one tick of its clock.
  await Bun.sleep(FRESH_MS);
  measured.set("pathX509", (await fetch("fetch-x509", effort.milliseconds)) ?? 0);
  measured.set("pathJwt", (await fetch("fetch-jwt", effort.milliseconds)) ?? 0);
  await agent.daemon.stop();
}

/** An agent that starts for the first time and has thousands of entries. */
async function filledAgent(
  stage: Stage,
  server: TestServer,
  effort: Effort,
  measured: Measured,
): Promise<void> {
  const admin = join(stage.room("admin"), "admin.sock");
  const count = effort.filled;
  const name = `filled-${server.implementation}`;
  await load("seed", {
    socket: server.socket,
    name,
    each: count,
    batch: 100,
    from: 500_000,
    count,
  });
  const token = `${name}-${Math.floor(500_000 / count)}`;
  await load("token", { socket: server.socket, name: token });
  const agent = await TestAgent.prepare(stage, server.implementation, server, {
    token,
    settings: `log_level = "INFO"\n  admin_socket_path = "${admin}"\n  x509_svid_cache_max_size = ${count + 1000}`,
  });
  const cached = load<{ at: number }>("agent-cached", { socket: admin, count });
  await Bun.sleep(300);
  const began = performance.timeOrigin + performance.now();
  agent.launch();
  measured.set("agentFill", ((await cached).at - began) / 1000);
}
