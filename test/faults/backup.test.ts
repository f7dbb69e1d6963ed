/** Backups of a server that is busy, and backups and restores that are killed. */
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { callUnary } from "#grpc/client.ts";
import { Entry } from "#proto/spire/api/types/entry.ts";
import { extractArchive } from "#server/backup/archive.ts";
import { inspectContents, keyProblem } from "#server/backup/contents.ts";
import { unfinishedPath } from "#server/backup/unfinished.ts";
import { type Clients, closeClients, localClients } from "#server/server.fixture.ts";
import { backUp, backup, restore } from "../support/backups.ts";
import { type Finished, run } from "../support/process.ts";
import { executable, Stage, TestServer, TRUST_DOMAIN } from "../support/spire.ts";
import { Chance } from "./chance.ts";
import { SmallDisk } from "./small-disk.ts";

const BACKUPS = 12;
const KILLED_CREATES = 15;
const KILLED_RESTORES = 20;
const WORKERS = 3;
const BATCH = 20;

const stage = new Stage();
const room = stage.room("backups");
afterAll(() => stage.close(), 60_000);

/** Creates and deletes entries, and changes authorities, as fast as the server answers. */
class Load {
  /** By entry ID, when the answer was there. */
  readonly created = new Set<string>();
  readonly deleted = new Set<string>();
  rotations = 0;
  readonly #clients: Clients;
  readonly #work: Promise<unknown>;
  #isOver = false;
  #next = 0;

  constructor(server: TestServer) {
    this.#clients = localClients(server.socket);
    const workers = Array.from({ length: WORKERS }, () => this.#changeEntries());
    this.#work = Promise.all([...workers, this.#rotateX509(), this.#rotateJwt()]);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#work;
    closeClients(this.#clients);
  }

  async #changeEntries(): Promise<void> {
    const { entry } = this.#clients;
    while (!this.#isOver) {
      const ids = Array.from({ length: BATCH }, () => `e${this.#next++}`);
      await callUnary(entry, "batchCreateEntry", {
        entries: ids.map(someEntry),
        outputMask: undefined,
      });
      for (const id of ids) this.created.add(id);
      const some = ids.slice(0, BATCH / 4);
      await callUnary(entry, "batchDeleteEntry", { ids: some });
      for (const id of some) this.deleted.add(id);
    }
  }

  async #rotateX509(): Promise<void> {
    const { localAuthority } = this.#clients;
    while (!this.#isOver) {
      const { preparedAuthority } = await callUnary(localAuthority, "prepareX509Authority", {});
      const { authorityId = "" } = preparedAuthority ?? {};
      await callUnary(localAuthority, "activateX509Authority", { authorityId });
      this.rotations += 1;
    }
  }

  async #rotateJwt(): Promise<void> {
    const { localAuthority } = this.#clients;
    while (!this.#isOver) {
      const { preparedAuthority } = await callUnary(localAuthority, "prepareJwtAuthority", {});
      const { authorityId = "" } = preparedAuthority ?? {};
      await callUnary(localAuthority, "activateJwtAuthority", { authorityId });
    }
  }
}

function someEntry(id: string): Entry {
  return Entry.fromPartial({
    id,
    spiffeId: { trustDomain: TRUST_DOMAIN, path: `/workload/${id}` },
    parentId: { trustDomain: TRUST_DOMAIN, path: "/node" },
    selectors: [{ type: "unix", value: "uid:1" }],
  });
}

function entryIds(database: string): ReadonlySet<string> {
  using db = new Database(database, { readonly: true });
  return new Set(
    db
      .query<{ id: string }, []>("SELECT id FROM entries")
      .all()
      .map(({ id }) => id),
  );
}

test("of a server under load every backup is whole: what was acknowledged is in it, and its keys are those of its journal", async () => {
  const server = await TestServer.start(stage, "ours");
  const load = new Load(server);
  try {
    for (let round = 0; round < BACKUPS; round += 1) {
      const [created, deleted] = [new Set(load.created), new Set(load.deleted)];
      const path = join(room, `loaded-${round}`);
      await backUp(server, path);
      const verified = await backup("verify", path);
      expect({ round, ...verified }).toMatchObject({ round, code: 0, stderr: "" });
      await extractArchive(path, undefined, `${path}.sqlite3`);
      const stored = entryIds(`${path}.sqlite3`);
      const lost = [...created].filter((id) => !stored.has(id) && !load.deleted.has(id));
      const back = [...deleted].filter((id) => stored.has(id));
      expect({ round, lost, back }).toEqual({ round, lost: [], back: [] });
    }
  } finally {
    await load.stop();
  }
  const { entries } = await server.json("entry", "show");
  const now = new Set((entries as { id: string }[]).map(({ id }) => id));
  expect(now).toEqual(load.created.difference(load.deleted));
  console.log(JSON.stringify({ created: load.created.size, rotations: load.rotations }));
  expect(load.rotations).toBeGreaterThan(BACKUPS);
  await server.daemon.stop();
}, 120_000);

/** Runs a command and kills it, at the moment that resolves or when it ends by itself. */
async function killed(
  words: readonly string[],
  moment: (isRunning: () => boolean) => Promise<void>,
): Promise<boolean> {
  const child = Bun.spawn([executable("ours", "spire-server"), "backup", ...words], {
    stdout: "ignore",
    stderr: "ignore",
  });
  await moment(() => child.exitCode === null);
  child.kill("SIGKILL");
  await child.exited;
  return child.signalCode === "SIGKILL";
}

test("a backup that is killed leaves none, or a whole one, and the server as it was", async () => {
  const chance = Chance.start("killed backups");
  const server = await TestServer.start(stage, "ours");
  const path = join(room, "killed");
  let kills = 0;
  for (let round = 0; round < KILLED_CREATES; round += 1) {
    rmSync(path, { force: true });
    const words = ["create", "-config", server.configuration, "-output", path];
    kills += Number(await killed(words, () => Bun.sleep(chance.between(0, 120))));
    if (!existsSync(path)) continue;
    expect(await backup("verify", path)).toMatchObject({ code: 0 });
  }
  console.log(JSON.stringify({ kills }));
  await backUp(server, path, "-overwrite");
  expect(readdirSync(room).filter((name) => name.startsWith("killed"))).toEqual(["killed"]);
  expect((await server.cli("healthcheck")).code).toBe(0);
  await server.entry(`spiffe://${TRUST_DOMAIN}/a`, `spiffe://${TRUST_DOMAIN}/b`, ["unix:uid:1"]);
  await server.daemon.stop();
}, 120_000);

/** What is in a data directory: the IDs of the entries, and the active CA. */
async function stateIn(data: string, suffix = ""): Promise<string> {
  const databasePath = join(data, `datastore.sqlite3${suffix}`);
  const keys = readFileSync(join(data, `keys.json${suffix}`), "utf8");
  const contents = await inspectContents({ databasePath, keys, trustDomain: TRUST_DOMAIN });
  const ids = [...entryIds(databasePath)].join(" ");
  return JSON.stringify([ids, contents.authorities[0]?.authorityId, keyProblem(contents)]);
}

const refusedRun = (server: TestServer): Promise<Finished> =>
  run([executable("ours", "spire-server"), "run", "-config", server.configuration]);

test("a restore that is killed leaves the old state or the new one, or is refused to run until it is repeated", async () => {
  const chance = Chance.start("killed restores");
  const server = await TestServer.start(stage, "ours");
  const data = join(server.directory, "data");
  const path = join(room, "state");
  const named = (name: string): Promise<string> =>
    server.entry(`spiffe://${TRUST_DOMAIN}/${name}`, `spiffe://${TRUST_DOMAIN}/node`, [
      "unix:uid:1",
    ]);
  await named("new");
  await backUp(server, path);
  await named("old");
  const { prepared_authority: next } = await server.json("localauthority", "x509", "prepare");
  const authorityId = String((next as Record<string, unknown>)["authority_id"]);
  await server.cli("localauthority", "x509", "activate", "-authorityID", authorityId);
  await server.daemon.stop();
  const before = join(server.directory, "before");
  cpSync(data, before, { recursive: true });
  const oldState = await stateIn(before);
  const check = join(server.directory, "check");
  const words = ["restore", "-force", "-config", server.configuration, "-moveAside", path];
  await backup(...words);
  const newState = await stateIn(data);
  expect(newState).not.toBe(oldState);

  const outcomes = { old: 0, new: 0, unfinished: 0 };
  for (let round = 0; round < KILLED_RESTORES; round += 1) {
    rmSync(data, { recursive: true });
    cpSync(before, data, { recursive: true });
    await killed(words, async (isRunning) => {
      if (round % 3 === 0) return Bun.sleep(chance.between(0, 120));
      // In the midst of what it does to the files.
      const begun = (): boolean =>
        round % 3 === 1
          ? existsSync(unfinishedPath(data))
          : readdirSync(data).some((name) => name.includes(".before-restore-"));
      while (isRunning() && !begun()) await Bun.sleep(0);
      await Bun.sleep(chance.between(0, 4));
    });
    if (existsSync(unfinishedPath(data))) {
      outcomes.unfinished += 1;
      expect(await refusedRun(server)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining(
          `a restore into ${data} was broken off: run \`spire-server backup restore\` again`,
        ),
      });
      expect(
        await backup("create", "-config", server.configuration, "-output", check),
      ).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("was broken off"),
      });
      // What was permitted once need not be permitted again.
      await restore(server, path);
    } else {
      const state = await stateIn(data);
      expect([oldState, newState]).toContain(state);
      outcomes[state === oldState ? "old" : "new"] += 1;
      if (state === oldState) await restore(server, path, "-moveAside");
    }
    expect(await stateIn(data)).toBe(newState);
    const suffixes = new Set(
      readdirSync(data).flatMap((name) => /\.before-restore-\w+$/.exec(name)?.[0] ?? []),
    );
    const [suffix = "none"] = suffixes;
    expect({ round, kept: suffixes.size, state: await stateIn(data, suffix) }).toEqual({
      round,
      kept: 1,
      state: oldState,
    });
    expect(readdirSync(data).filter((name) => /restoring|unfinished/.test(name))).toEqual([]);
  }
  console.log(JSON.stringify(outcomes));
  await server.start();
  expect(await server.json("entry", "count")).toEqual({ count: 1 });
  await server.daemon.stop();
}, 180_000);

test("on a disk that is full a backup and a restore fail with its name, and leave all as it was", async () => {
  const server = await TestServer.start(stage, "ours");
  const clients = localClients(server.socket);
  const entries = Array.from({ length: 2000 }, (_, n) => someEntry(`many-${n}`));
  await callUnary(clients.entry, "batchCreateEntry", { entries, outputMask: undefined });
  closeClients(clients);
  await server.daemon.stop();
  const path = join(room, "large");
  await backUp(server, path);

  const place = stage.room("small");
  const disk = await SmallDisk.mount(stage, place, "400k");
  const program = [executable("ours", "spire-server"), "backup"];
  const full = {
    code: 1,
    stderr: expect.stringContaining(`the file system of ${place} is full: free space on it`),
  };
  const words = ["create", "-config", server.configuration, "-output", join(place, "backup")];
  expect(await run(disk.within([...program, ...words]))).toMatchObject(full);
  expect(readdirSync(disk.reach())).toEqual([]);

  const small = ["restore", "-force", "-dataDir", place];
  const tiny = await TestServer.start(stage, "ours");
  const state = join(room, "tiny");
  await backUp(tiny, state);
  expect(await run(disk.within([...program, ...small, state]))).toMatchObject({ code: 0 });
  const hashes = (): unknown[] =>
    ["datastore.sqlite3", "keys.json"].map((name) => Bun.hash(readFileSync(disk.reach(name))));
  const before = hashes();
  expect(await run(disk.within([...program, ...small, "-moveAside", path]))).toMatchObject(full);
  expect(hashes()).toEqual(before);
  expect(readdirSync(disk.reach()).sort()).toEqual([
    "datastore.sqlite3",
    "datastore.sqlite3.lock",
    "keys.json",
    "restored.json",
    "server.lock",
  ]);
  await tiny.daemon.stop();
}, 60_000);
