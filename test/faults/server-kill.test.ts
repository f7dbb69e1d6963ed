/** The server is killed fifty times in the middle of its work: what it acknowledged it still knows, and it starts without a hand. */
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { join } from "node:path";
import { eventually } from "../support/process.ts";
import { Stage, TestServer } from "../support/spire.ts";
import { AuthorityLoad, ROTATION } from "./authority-load.ts";
import { BundleLoad } from "./bundle-load.ts";
import { Chance } from "./chance.ts";
import { EntryLoad } from "./entry-load.ts";
import { JoinLoad } from "./join-load.ts";
import { Lifetime, type Load } from "./lifetime.ts";

const KILLS = 50;
const FIRST_STARTS = 10;
/** About as long as a start takes; kills during a start come within that. */
const START_MS = 200;
const LONGEST_WORK_MS = 500;
/** Half of it is about as long as one step of a rotation takes. */
const STEP_MS = 40;

/** Else one node may join a second. */
const settings = "ratelimit { attestation = false signing = false }";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

/**
 * When the kill comes: during the start, at any time of the work, in a step of the rotation of an authority, or as soon as
 * something was acknowledged, when a server that acknowledges too early has not yet done it.
 */
type Moment = "start" | "work" | "rotation" | "answer";

const MOMENTS: readonly Moment[] = ["start", "work", "rotation", "rotation", "answer", "answer"];
/** Those that change what the server stores. */
const CHANGES = /^(create|update|delete|change|append|join|ban|evict|prepare|activate)/;

class Loads {
  readonly entries: EntryLoad;
  readonly joins: JoinLoad;
  readonly authorities: AuthorityLoad;
  readonly bundles: BundleLoad;

  constructor(chance: Chance) {
    this.entries = new EntryLoad(chance.fork());
    this.joins = new JoinLoad(chance.fork());
    this.authorities = new AuthorityLoad(chance.fork());
    this.bundles = new BundleLoad(chance.fork());
  }

  get all(): readonly Load[] {
    return [this.authorities, this.entries, this.joins, this.bundles];
  }

  async check(life: Lifetime): Promise<readonly string[]> {
    const problems: string[] = [];
    for (const load of this.all) problems.push(...(await load.check(life)));
    return problems;
  }

  get counts(): Readonly<Record<string, number>> {
    const { entries, joins, authorities, bundles } = this;
    return { ...entries.counts, ...joins.counts, ...authorities.counts, ...bundles.counts };
  }

  /** On a busy machine the short lives alone might see no rotation to its end. */
  async someOfEach(): Promise<void> {
    const isDone = (): boolean => Object.values(this.counts).every((count) => count > 0);
    await eventually("work of each kind", async () => (isDone() ? true : undefined), 60_000);
  }
}

/** Resolves at the moment of the kill. */
async function killTime(moment: Moment, chance: Chance, life: Lifetime): Promise<void> {
  const wait = chance.between(0, LONGEST_WORK_MS);
  const step = chance.between(0, STEP_MS);
  if (moment === "work") return life.pause(wait);
  const late = life.pause(LONGEST_WORK_MS);
  if (moment === "rotation" && step < STEP_MS / 2) {
    await Promise.race([life.next("answered", ROTATION), late]);
  } else if (moment === "rotation") {
    await Promise.race([life.next("sent", ROTATION), late]);
    await life.pause(step - STEP_MS / 2);
  } else {
    await life.pause(wait / 4);
    await Promise.race([life.next("answered", CHANGES), late]);
  }
}

test("fifty kills: nothing acknowledged is lost, nothing deleted is back, and every signature verifies", async () => {
  const chance = Chance.start("server-kill");
  const loads = new Loads(chance);
  const server = await TestServer.prepare(stage, "ours", { settings });
  const starts: number[] = [];
  const moments: Record<Moment, number> = { start: 0, work: 0, rotation: 0, answer: 0 };
  for (let kill = 0; kill < KILLS; kill += 1) {
    const moment = kill === 0 ? "work" : chance.pick(MOMENTS)!;
    moments[moment] += 1;
    const life = Lifetime.launch(server);
    if (moment === "start") {
      await life.pause(chance.between(0, START_MS));
      await life.kill();
    } else {
      starts.push(await life.ready());
      const problems = await loads.check(life);
      expect({ kill, problems }).toEqual({ kill, problems: [] });
      const work = Promise.all(loads.all.map((load) => load.work(life)));
      if (kill === 0) await loads.someOfEach();
      await killTime(moment, chance, life);
      await life.kill();
      await work;
    }
    life.close();
    expect({ kill, faults: life.faults }).toEqual({ kill, faults: [] });
  }
  const life = Lifetime.launch(server);
  starts.push(await life.ready());
  const problems = [...(await loads.check(life)), ...(await loads.joins.checkAll(life))];
  expect(problems).toEqual([]);
  life.close();
  expect(await life.stop()).toBe(0);
  expect(life.faults).toEqual([]);
  const db = new Database(join(server.directory, "data", "datastore.sqlite3"), { readonly: true });
  expect(db.query("PRAGMA integrity_check").values()).toEqual([["ok"]]);
  expect(db.query("PRAGMA foreign_key_check").values()).toEqual([]);
  db.close();
  const { counts } = loads;
  starts.sort((a, b) => a - b);
  const figures = { median: starts[starts.length >> 1], longest: starts.at(-1) };
  console.log(JSON.stringify({ moments, acknowledged: counts, startsMs: figures }));
}, 240_000);

test("a server that is killed in its very first start starts the next time", async () => {
  const chance = Chance.start("server-kill in the first start");
  for (let round = 0; round < FIRST_STARTS; round += 1) {
    const server = await TestServer.prepare(stage, "ours", { settings });
    const first = Lifetime.launch(server);
    await first.pause(chance.between(0, 1.5 * START_MS));
    await first.kill();
    const second = Lifetime.launch(server);
    await second.ready();
    const problems = await new AuthorityLoad(chance.fork()).check(second);
    await second.kill();
    second.close();
    expect({ round, problems, faults: second.faults }).toEqual({ round, problems: [], faults: [] });
  }
}, 120_000);
