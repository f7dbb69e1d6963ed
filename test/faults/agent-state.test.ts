/** What an agent keeps on disk, agent-data.json and keys.json, when it is killed in the middle of a write. */
import { afterAll, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { StoredState } from "#agent/attestation/stored-state.ts";
import { DiskKeyManager } from "#keymanager/disk/disk.ts";
import { Stage } from "../support/spire.ts";
import { Chance } from "./chance.ts";
import { killAtRandom } from "./kill-at-random.ts";

const PROGRAM = join(import.meta.dir, "write-agent-state.ts");
const stage = new Stage();
afterAll(async () => {
  await stage.close();
}, 60_000);

test("kill -9 in the middle of writing, 20 times: both files are whole, and nothing acknowledged is lost", async () => {
  const directory = stage.room("state");
  const chance = Chance.start("agent-state");
  for (let round = 0; round < 20; round++) {
    const moment = chance.fraction();
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
