/** One round of an implementation's server. */
import { cpSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { freePort, run } from "../../support/process.ts";
import { executable, type Implementation, Stage, TestServer } from "../../support/spire.ts";
import type { Effort } from "./effort.ts";
import type { Measured } from "./figures.ts";
import {
  callsPerSecond,
  idleMinute,
  itemsPerSecond,
  load,
  ROOT,
  readyAfter,
  residentMegabytes,
  startTime,
} from "./load.ts";

/** Entries of the agent that the loads speak for. */
const PER_AGENT = 1_000;
/** Entries that one call of BatchCreateEntry creates. */
const CREATE_BATCH = 500;
const AGENT = "bench";

/**
 * Without limits on calls, with CAs that outlive a copy of the data kept for later rounds. The log goes to a file, so that nobody has to
 * read it meanwhile.
 */
const SETTINGS = `log_level = "INFO"
  log_file = "load.log"
  ca_ttl = "87600h"
  agent_ttl = "8760h"
  ratelimit {
    attestation = false
    signing = false
  }`;

export const benchServer = async (
  stage: Stage,
  implementation: Implementation,
  options: { directory?: string; healthPort?: number } = {},
): Promise<TestServer> =>
  TestServer.prepare(stage, implementation, {
    settings: SETTINGS,
    ...(options.directory === undefined ? {} : { directory: options.directory }),
    ...(options.healthPort === undefined
      ? {}
      : {
          more: `health_checks {\n  listener_enabled = true\n  bind_address = "127.0.0.1"\n  bind_port = "${options.healthPort}"\n}`,
        }),
  });

/** The loads of one server: who they speak for, and to whom. */
const wordsFor = (server: TestServer, effort: Pick<Effort, "milliseconds">) => ({
  socket: server.socket,
  address: `127.0.0.1:${server.port}`,
  identity: join(server.directory, "identity.json"),
  name: `${AGENT}-0`,
  milliseconds: effort.milliseconds,
  pid: server.daemon.pid,
});

/** Entries from a number on, a thousand below each agent. */
const seed = (server: TestServer, from: number, count: number) =>
  load("seed", {
    socket: server.socket,
    name: AGENT,
    each: PER_AGENT,
    batch: CREATE_BATCH,
    from,
    count,
  });

export async function measureServer(
  implementation: Implementation,
  effort: Effort,
): Promise<Measured> {
  const stage = new Stage();
  const measured: Measured = new Map();
  try {
    const healthPort = await freePort();
    const server = await benchServer(stage, implementation, { healthPort });
    await measureStarts(stage, server, effort, measured);
    await server.start();
    await Bun.sleep(effort.settleMs);
    measured.set("serverMemory", residentMegabytes(server.daemon.pid));
    measured.set("serverAnonymous", residentMegabytes(server.daemon.pid, "RssAnon"));
    if (effort.idleSeconds > 0) {
      measured.set("serverIdle", await idleMinute(server.daemon.pid, effort.idleSeconds));
    }
    await seed(server, 0, PER_AGENT);
    await underLoad(server, effort, measured, healthPort);
    measured.set("create", itemsPerSecond(await seed(server, PER_AGENT, effort.created)));
  } finally {
    await stage.close();
  }
  return measured;
}

async function measureStarts(
  stage: Stage,
  server: TestServer,
  effort: Effort,
  measured: Measured,
): Promise<void> {
  // The program must be in memory: how long the disk takes is not its doing.
  await run([executable(server.implementation, "spire-server"), "--version"]);
  const first = async (): Promise<number> => {
    const fresh = await benchServer(stage, server.implementation);
    return readyAfter(fresh.socket, () => fresh.launch());
  };
  measured.set("serverFirstStart", await startTime(effort.starts, first));
  const again = (): Promise<number> => readyAfter(server.socket, () => server.launch());
  await again();
  measured.set("serverStart", await startTime(effort.starts, again));
}

/** The rates of single calls. */
async function singleCalls(server: TestServer, effort: Effort, measured: Measured): Promise<void> {
  const words = wordsFor(server, effort);
  const rate = async (figure: string, name: string, more: Record<string, number> = {}) => {
    const result = await load(name, { ...words, ...more });
    measured.set(figure, callsPerSecond(result));
    return result;
  };
  await rate("mintX509", "mint-x509");
  await rate("mintJwt", "mint-jwt");
  await rate("newJwt", "new-jwt");
  await rate("authorized", "authorized");
  const { cpuSeconds, calls } = await rate("sync", "sync");
  measured.set("syncCpu", cpuSeconds / calls);
  const attested = await rate("attest", "attest", { calls: effort.attested });
  measured.set("attestCpu", attested.cpuSeconds / attested.calls);
}

async function underLoad(
  server: TestServer,
  effort: Effort,
  measured: Measured,
  healthPort: number,
): Promise<void> {
  await singleCalls(server, effort, measured);
  const words = wordsFor(server, effort);
  const batches = await load("batch-x509", { ...words, size: 50 });
  measured.set("batch50", itemsPerSecond(batches));
  measured.set("batchCpu", (batches.cpuSeconds / batches.items) * 1000);
  // The two loads come to their ends together.
  const [large, waits] = await Promise.all([
    load("batch-x509", { ...words, size: 500 }),
    load("stalls", { address: `127.0.0.1:${healthPort}`, milliseconds: effort.milliseconds }),
  ]);
  measured.set("batch500", itemsPerSecond(large));
  measured.set("stall", waits.longest);
}

/**
 * A server that has so many entries, a thousand below each agent. The reference's data is kept for later: it takes its time to create
 * them, and does not change from run to run.
 */
async function serverWith(
  stage: Stage,
  implementation: Implementation,
  entries: number,
): Promise<TestServer> {
  const kept = join(ROOT, "build/bench", `reference-v1.15.3-${entries}`);
  const directory = stage.room(`many-${implementation}`);
  const reusable = implementation === "reference" && existsSync(kept);
  if (reusable) cpSync(kept, join(directory, "data"), { recursive: true });
  const server = await benchServer(stage, implementation, { directory });
  await server.start();
  if (!reusable) await seed(server, 0, entries);
  await server.daemon.stop();
  if (implementation === "reference" && !reusable) {
    mkdirSync(join(ROOT, "build/bench"), { recursive: true });
    cpSync(join(directory, "data"), kept, { recursive: true });
  }
  return server;
}

/** What grows with the number of entries. */
export async function measureMany(
  implementation: Implementation,
  effort: Effort,
  entries: number,
): Promise<Measured> {
  const stage = new Stage();
  const measured: Measured = new Map();
  try {
    const server = await serverWith(stage, implementation, entries);
    measured.set("serverStart", await readyAfter(server.socket, () => server.launch()));
    await server.start();
    await Bun.sleep(effort.settleMs);
    measured.set("serverMemoryMany", residentMegabytes(server.daemon.pid));
    await singleCalls(server, effort, measured);
    const words = wordsFor(server, effort);
    measured.set("batch50", itemsPerSecond(await load("batch-x509", { ...words, size: 50 })));
    measured.set("create", itemsPerSecond(await seed(server, entries, effort.created)));
  } finally {
    await stage.close();
  }
  return measured;
}
