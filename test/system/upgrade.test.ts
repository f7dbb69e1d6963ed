/** A server starts on the datastore of an earlier version, whatever happens at its first start; and an earlier one refuses a later datastore. */
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { inspectDatabase } from "#server/datastore/sqlite/file/copy.ts";
import { writeOlder } from "#server/datastore/sqlite/file/older.fixture.ts";
import { SCHEMA_VERSION } from "#server/datastore/sqlite/file/schema.ts";
import { Chance } from "../faults/chance.ts";
import { backUp, freshMachine, restore } from "../support/backups.ts";
import { eventually } from "../support/process.ts";
import { Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

/** Enough that a migration takes longer than the steps around it. */
const MANY_TOKENS = 200_000;
const KILLS = 12;

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

const databaseOf = (server: TestServer): string =>
  join(server.directory, "data", "datastore.sqlite3");

/** Stops the server, and leaves its data as a server of that schema would have. */
async function turnBack(server: TestServer, version: number): Promise<void> {
  await server.daemon.stop();
  const path = databaseOf(server);
  renameSync(path, `${path}.now`);
  for (const suffix of ["-wal", "-shm"]) rmSync(`${path}${suffix}`, { force: true });
  writeOlder(`${path}.now`, path, version);
  rmSync(`${path}.now`);
}

test("of every schema there was: entries, agents, bundle and authorities stay, and an agent goes on", async () => {
  const server = await TestServer.start(stage, "ours");
  const agent = await TestAgent.start(stage, "ours", server);
  const id = `spiffe://${TRUST_DOMAIN}/workload`;
  await server.entry(id, agent.id, ["unix:uid:1"]);
  const shown = async (): Promise<unknown> => ({
    bundle: (await server.cli("bundle", "show")).stdout,
    authorities: await server.json("localauthority", "x509", "show"),
    jwt: await server.json("localauthority", "jwt", "show"),
    entries: await server.json("entry", "show"),
  });
  const before = await shown();
  for (let version = 1; version < SCHEMA_VERSION; version += 1) {
    await turnBack(server, version);
    await server.start();
    expect({ version, ...Object(await shown()) }).toEqual({ version, ...Object(before) });
    const line = await server.daemon.line((one) => one.includes("Upgrading the datastore schema"));
    const copy = `${databaseOf(server)}.schema-${version}`;
    expect(line).toContain(`copy=${copy} `);
    expect(inspectDatabase(copy)).toMatchObject({
      schemaVersion: version,
      counts: { entries: 1, agents: 1 },
    });
    expect(existsSync(`${databaseOf(server)}.schema-${version - 1}`)).toBe(false);
  }
  await server.entry(`${id}-2`, agent.id, ["unix:uid:1"]);
  await eventually("the new entry is served", async () => {
    const { stdout } = await agent.cli(["api", "fetch", "x509"], { uid: 1 });
    return stdout.includes(`${id}-2\n`) ? true : undefined;
  });
  expect(agent.daemon.running).toBe(true);
  await agent.daemon.stop();
  await server.daemon.stop();
}, 120_000);

test("a server that is killed while it brings its datastore up to date does so at the next start", async () => {
  const chance = Chance.start("killed migrations");
  const server = await TestServer.start(stage, "ours");
  await turnBack(server, 1);
  const path = databaseOf(server);
  const fill = new Database(path);
  fill.run(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MANY_TOKENS})
    INSERT INTO join_tokens SELECT randomblob(32), 4000000000 + i FROM n`,
  );
  fill.close();
  const old = `${path}.old`;
  copyFileSync(path, old);
  const outcomes: Record<string, number> = {};
  for (let kill = 0; kill < KILLS; kill += 1) {
    for (const suffix of ["-wal", "-shm", ".schema-1", ".schema-1.new"])
      rmSync(`${path}${suffix}`, { force: true });
    copyFileSync(old, path);
    const daemon = server.launch();
    // From the middle of the copy on, or from its end: then comes the migration.
    const begun = `${path}.schema-1${kill % 3 === 0 ? ".new" : ""}`;
    while (daemon.running && !existsSync(begun)) await Bun.sleep(1);
    await Bun.sleep(chance.between(0, 300));
    await daemon.kill();
    const { schemaVersion, counts } = inspectDatabase(path);
    expect([1, SCHEMA_VERSION]).toContain(schemaVersion);
    expect(counts.joinTokens).toBe(MANY_TOKENS);
    outcomes[schemaVersion] = (outcomes[schemaVersion] ?? 0) + 1;
  }
  console.log(JSON.stringify(outcomes));
  copyFileSync(old, path);
  for (const suffix of ["-wal", "-shm"]) rmSync(`${path}${suffix}`, { force: true });
  await server.start();
  expect(inspectDatabase(`${path}.schema-1`).counts.joinTokens).toBe(MANY_TOKENS);
  await server.daemon.stop();
}, 120_000);

test("a backup made of an older datastore is restored, and brought up to date as any other", async () => {
  const server = await TestServer.start(stage, "ours");
  await server.entry(`spiffe://${TRUST_DOMAIN}/a`, `spiffe://${TRUST_DOMAIN}/b`, ["unix:uid:1"]);
  const authorities = await server.json("localauthority", "x509", "show");
  await turnBack(server, 1);
  const path = join(stage.room("backups"), "old");
  expect(await backUp(server, path)).toContain("Schema version       : 1\n");
  const next = await freshMachine(stage, server);
  await restore(next, path);
  await next.start();
  expect(await next.json("entry", "count")).toEqual({ count: 1 });
  expect(await next.json("localauthority", "x509", "show")).toEqual(authorities);
  await next.daemon.stop();
}, 60_000);

test("a datastore of a later version is refused with both versions and the ways out, and stays as it is", async () => {
  const server = await TestServer.start(stage, "ours");
  await server.daemon.stop();
  const path = databaseOf(server);
  const db = new Database(path);
  db.run(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
  db.close();
  const before = readFileSync(path);
  const daemon = server.launch();
  expect(await daemon.exited).toBe(1);
  const known = `datastore ${path} has schema version ${SCHEMA_VERSION + 1}, of a newer program; this one knows versions up to ${SCHEMA_VERSION}`;
  expect(daemon.lines.join("\n")).toContain(
    `${known}: run the newer program, or restore a backup made before the upgrade (UPGRADE.md); the file was not changed`,
  );
  copyFileSync(path, `${path}.schema-${SCHEMA_VERSION}`);
  const again = server.launch();
  expect(await again.exited).toBe(1);
  expect(again.lines.join("\n")).toContain(
    `${known}: run the newer program, or go back to ${path}.schema-${SCHEMA_VERSION}, the copy made before the upgrade`,
  );
  expect(readFileSync(path).equals(before)).toBe(true);
}, 60_000);
