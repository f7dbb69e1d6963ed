/** What an agent keeps on disk, agent-data.json and keys.json, on bad days: killed in the middle of a write, and with a disk that is full. */
import { afterAll, expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { StoredState } from "#agent/attestation/stored-state.ts";
import { DiskKeyManager } from "#keymanager/disk.ts";
import { eventually, run } from "../support/process.ts";
import { Stage, TestAgent, TestServer } from "../support/spire.ts";
import { killAtRandom } from "./kill-at-random.ts";

const PROGRAM = join(import.meta.dir, "write-agent-state.ts");
const stage = new Stage();
afterAll(async () => {
  await stage.close();
}, 60_000);

test("kill -9 in the middle of writing, 20 times: both files are whole, and nothing acknowledged is lost", async () => {
  const directory = stage.room("state");
  for (let round = 0; round < 20; round++) {
    const moment = Math.random();
    const acknowledged = await killAtRandom({
      command: [process.execPath, PROGRAM, directory],
      acknowledged: (line) => /^wrote (\d+)$/.exec(line)?.[1],
      withinMs: 60,
      moment,
    });
    const { current } = await StoredState.open(join(directory, "agent-data.json"));
    const keys = await DiskKeyManager.open(join(directory, "keys.json"));
    const last = Number(acknowledged.at(-1));
    expect({ round, moment, lost: current.connectionAttempts < last }).toEqual({
      round,
      moment,
      lost: false,
    });
    expect(current.svid[0]?.every((byte) => byte === current.connectionAttempts % 251)).toBe(true);
    expect(keys.keys().length).toBeGreaterThan(0);
    expect(readdirSync(directory).sort()).toEqual(["agent-data.json", "keys.json"]);
  }
}, 120_000);

test("a disk that is full: the agent goes on with what it has, loses nothing, and catches up when there is room", async () => {
  const server = await TestServer.start(stage, "ours", { settings: 'agent_ttl = "16s"' });
  const directory = stage.room("agent-full");
  const data = join(directory, "data");
  // TestAgent keeps all it has in `data`.
  await mount(data);
  try {
    const agent = await TestAgent.start(stage, "ours", server, {
      directory,
      settings: 'experimental { sync_interval = "1s" }',
    });
    fillUp(data);
    const files = ["agent-data.json", "keys.json"].map((name) => join(data, name));
    const before = files.map((path) => readFileSync(path, "utf8"));
    await agent.daemon.line((line) => line.includes("level=error"));
    expect(files.map((path) => readFileSync(path, "utf8"))).toEqual(before);
    expect(readdirSync(data).filter((name) => name.endsWith(".new"))).toEqual([]);
    // A crash at the worst moment: it starts without a byte to spare.
    await agent.daemon.kill();
    await agent.start();
    expect(agent.daemon.lines.join("\n")).toContain("SVID loaded");
    rmSync(join(data, "filler"));
    await eventually(
      "the SVID is renewed",
      async () => readFileSync(files[0] ?? "", "utf8") !== before[0] || undefined,
    );
    await agent.daemon.stop();
  } finally {
    await run(["umount", "--lazy", data]);
  }
}, 120_000);

/** A file system of one megabyte. */
async function mount(path: string): Promise<void> {
  const answer = await run([
    "sh",
    "-c",
    'mkdir "$0" && mount -t tmpfs -o size=1m,mode=700 tmpfs "$0"',
    path,
  ]);
  if (answer.code !== 0) throw new Error(answer.stderr);
}

/** Leaves not a byte. */
function fillUp(directory: string): void {
  const { bavail, bsize } = statfsSync(directory);
  writeFileSync(join(directory, "filler"), new Uint8Array(bavail * bsize));
  expect(statfsSync(directory).bavail).toBe(0);
}
