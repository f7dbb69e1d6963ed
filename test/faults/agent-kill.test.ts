/** The agent is killed fifty times: what it keeps on disk stays whole, it never joins again, and it serves nothing that is no more. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, mkdtempSync, readdirSync, rmSync, statSync, watch } from "node:fs";
import { join } from "node:path";
import { recoverSvid } from "#agent/attestation/agent-svid.ts";
import { StoredState } from "#agent/attestation/stored-state.ts";
import { DiskKeyManager } from "#keymanager/disk/disk.ts";
import { type Clients, closeClients, localClients } from "#server/server.fixture.ts";
import { type Daemon, eventually } from "../support/process.ts";
import { Stage, TestAgent, TestServer } from "../support/spire.ts";
import { AgentLoad } from "./agent-load.ts";
import { Chance } from "./chance.ts";
import { WorkloadStream } from "./workload-stream.ts";

const KILLS = 50;
const JOINS = 10;
/** About as long as a start takes. */
const START_MS = 250;
const LONGEST_WORK_MS = 300;
/** From a new key to the SVID for it in use it takes about that long. */
const RENEWAL_MS = 30;
/** Of the agent's SVID, which is renewed after about a second, for it begins ten seconds before it is issued. */
const AGENT_TTL = "12s";

const stage = new Stage();
/** Workload keys are not to reach a disk. */
const memory = mkdtempSync("/dev/shm/spire-edge-");
let server: TestServer;
let clients: Clients;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours", {
    settings: `agent_ttl = "${AGENT_TTL}"\n ratelimit { attestation = false signing = false }`,
  });
  clients = localClients(server.socket);
}, 60_000);

afterAll(async () => {
  closeClients(clients);
  await stage.close();
  rmSync(memory, { recursive: true, force: true });
}, 60_000);

/**
 * When the kill comes: during the start, at any time afterwards, or in a renewal of the agent's own SVID. After one that was cut short a
 * renewal may come to its end, or the SVID would expire.
 */
type Moment = "start" | "work" | "renewal" | "renewed";
const MOMENTS: readonly Moment[] = ["start", "work", "renewal", "renewal"];

/** Resolves when the file is replaced, or about to be. */
async function touched(directory: string, name: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const watcher = watch(directory, (_event, file) => {
    if (file?.startsWith(name)) resolve();
  });
  await Promise.race([promise, Bun.sleep(5_000)]);
  watcher.close();
}

interface OnDisk {
  /** Whether a key was made for which there is no SVID yet. */
  readonly isCut: boolean;
  readonly problems: readonly string[];
}

/** Looks at copies, since whoever opens the files cleans up. */
async function onDisk(agent: TestAgent): Promise<OnDisk> {
  const data = join(agent.directory, "data");
  const names = ["agent-data.json", "keys.json"] as const;
  const copies = stage.room("copies");
  for (const name of names) copyFileSync(join(data, name), join(copies, name));
  const problems: string[] = [];
  const drafts = readdirSync(data).filter((name) => name.endsWith(".new"));
  if (drafts.length > 1) problems.push(`drafts are left: ${drafts}`);
  for (const name of names) {
    const mode = statSync(join(data, name)).mode & 0o777;
    if (mode !== 0o600) problems.push(`${name} has mode ${mode.toString(8)}`);
  }
  const keys = await DiskKeyManager.open(join(copies, "keys.json"));
  const { current } = await StoredState.open(join(copies, "agent-data.json"));
  const recovered = recoverSvid(current.svid, current.reattestable, keys);
  if (recovered === undefined) problems.push("the SVID is lost, or its key");
  if (current.bundle.length === 0) problems.push("the bundle is lost");
  const [state, keyFile] = names.map((name) => statSync(join(data, name)).mtimeMs);
  return { isCut: (keyFile ?? 0) > (state ?? 0), problems };
}

/** What an agent that joined once never says while its server is there. */
function complaints({ lines }: Daemon): string[] {
  return lines.filter((line) =>
    / level=(error|fatal|panic) |node attestation|attesting anew|re-?attest/i.test(line),
  );
}

async function killTime(
  moment: Moment,
  chance: Chance,
  agent: TestAgent,
  daemon: Daemon,
): Promise<void> {
  const part = chance.fraction();
  if (moment === "renewed") await daemon.line((line) => line.includes("rotated agent SVID"));
  if (moment === "renewal") await touched(join(agent.directory, "data"), "keys.json");
  await Bun.sleep(part * (moment === "renewal" ? RENEWAL_MS : LONGEST_WORK_MS));
}

interface Figures {
  readonly kills: Record<Moment, number>;
  /** Kills that came between a new key and the SVID for it. */
  cut: number;
  renewals: number;
  responses: number;
  changes: number;
}

/** Kills an agent half of fifty times. @param experimental more of its settings */
async function killAgain(name: string, experimental: string): Promise<void> {
  const chance = Chance.start(`agent-kill, ${name}`);
  const agent = await TestAgent.start(stage, "ours", server, {
    settings: `experimental { sync_interval = "5s" ${experimental} }`,
  });
  await agent.daemon.kill();
  const path = new URL(agent.id).pathname;
  const load = new AgentLoad(chance.fork(), clients, path, process.getuid?.() ?? 0);
  const loading = load.run();
  try {
    const figures = await killUnder(load, agent, chance);
    console.log(JSON.stringify(figures));
    expect(figures.renewals).toBeGreaterThan(0);
  } finally {
    load.stop();
    await loading;
  }
}

async function killUnder(load: AgentLoad, agent: TestAgent, chance: Chance): Promise<Figures> {
  const kills = { start: 0, work: 0, renewal: 0, renewed: 0 };
  const figures: Figures = { kills, cut: 0, renewals: 0, responses: 0, changes: 0 };
  const wrong: string[] = [];
  let served: readonly string[] = [];
  let launched = 0;
  let isCut = false;
  const stream = new WorkloadStream(agent.socket, (paths) => {
    served = paths;
    figures.responses += 1;
    wrong.push(...load.wrong(paths, launched));
  });
  for (let kill = 0; kill < KILLS / 2; kill += 1) {
    const dice = chance.pick(MOMENTS) ?? "work";
    const moment = isCut ? "renewed" : dice;
    const marker = await load.mark();
    launched = performance.now();
    const daemon = agent.launch();
    if (moment === "start") {
      await Bun.sleep(chance.between(0, START_MS));
    } else {
      await eventually("the marker is served", async () => served.includes(marker) || undefined);
      await killTime(moment, chance, agent, daemon);
    }
    await daemon.kill();
    const found = await onDisk(agent);
    isCut = found.isCut;
    kills[moment] += 1;
    if (isCut) figures.cut += 1;
    figures.renewals += daemon.lines.filter((line) => line.includes("rotated agent SVID")).length;
    const problems = [...found.problems, ...wrong, ...complaints(daemon)];
    expect({ kill, moment, problems }).toEqual({ kill, moment, problems: [] });
  }
  await stream.stop();
  expect(stream.problems).toEqual([]);
  return { ...figures, changes: load.changes };
}

test("two agents, one of them with a kept cache: their identity stays, and what they serve is true", async () => {
  const cache = `offline_cache_directory = "${join(memory, "cache")}"`;
  const both = await Promise.allSettled([
    killAgain("without a kept cache", ""),
    killAgain("with a kept cache", cache),
  ]);
  for (const one of both) if (one.status === "rejected") throw one.reason;
}, 240_000);

test("an agent that is killed while it joins needs no other token", async () => {
  const chance = Chance.start("agent-kill while joining");
  for (let round = 0; round < JOINS; round += 1) {
    const agent = await TestAgent.prepare(stage, "ours", server);
    const first = agent.launch();
    if (chance.fraction() < 0.5) await Bun.sleep(chance.between(0, START_MS));
    else {
      await touched(join(agent.directory, "data"), "keys.json");
      await Bun.sleep(chance.between(0, RENEWAL_MS));
    }
    await first.kill();
    const second = agent.launch();
    await second.line((line) => /SVID loaded|Node attestation was successful/.test(line), 20_000);
    await second.kill();
    expect({ round, ...(await onDisk(agent)) }).toMatchObject({ round, problems: [] });
  }
}, 120_000);
