import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createLog } from "#log/log.ts";
import { describeDataStore } from "#server/datastore/datastore.conformance.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import { makeEntry, makeNode, rejection } from "#server/datastore/records.conformance.ts";
import { inspectDatabase } from "#server/datastore/sqlite/file/copy.ts";
import { prepareFile } from "#server/datastore/sqlite/file/file.ts";
import { writeOlder } from "#server/datastore/sqlite/file/older.fixture.ts";
import { migrate, SCHEMA_VERSION } from "#server/datastore/sqlite/file/schema.ts";
import { emptyBundle } from "#spiffe/bundle.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { openSqliteDataStore } from "./open.ts";

const log = createLog({ level: "error", format: "text" }, () => 0, { write: () => undefined });

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "spire-datastore-"));
  path = join(directory, "data", "datastore.sqlite3");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const open = (): Promise<DataStore> => openSqliteDataStore({ path, log });

describeDataStore("SQLite", open);

describe("opening a SQLite datastore", () => {
  test("what was written is there when it is opened again", async () => {
    const first = await open();
    await first.entries.create([makeEntry("a")]);
    await first.close();
    const second = await open();
    expect(await second.entries.find("a")).toEqual(makeEntry("a"));
    await second.close();
  });

  test("a used join token is known when it is opened again, by its digest and the key's alone", async () => {
    const claim = {
      token: "secret",
      publicKeySha256: new Uint8Array(32).fill(7),
      now: 100,
      usedSince: 40,
    };
    const first = await open();
    await first.joinTokens.create({ token: "secret", expiresAt: 700 });
    await first.joinTokens.join(makeNode("n"), claim);
    await first.close();
    expect(readFileSync(path).includes("secret")).toBe(false);
    const second = await open();
    expect(await second.joinTokens.join(makeNode("n"), { ...claim, now: 130 })).toBe("repeated");
    await second.close();
  });

  test("bundles of a datastore from before WIT-SVIDs have no keys for them", async () => {
    mkdirSync(join(directory, "data"));
    const db = new Database(path, { create: true });
    migrate(db, 4);
    const authority = { keyId: "k", publicKey: "CQ==", expiresAt: 5, tainted: false };
    const document = {
      x509Authorities: [],
      jwtAuthorities: [authority],
      refreshHint: 1,
      sequenceNumber: 2,
    };
    db.query("INSERT INTO bundles (trust_domain, document) VALUES ('a.org', ?)").run(
      JSON.stringify(document),
    );
    db.close();
    const store = await open();
    const bundle = await store.bundles.find("a.org");
    expect(bundle).toMatchObject({ witAuthorities: [], refreshHint: 1, sequenceNumber: 2 });
    const key = { ...authority, publicKey: Uint8Array.of(9) };
    expect(bundle?.jwtAuthorities).toEqual([key]);
    const trustDomain = TrustDomain.parse("a.org");
    const appended = { ...emptyBundle(trustDomain), witAuthorities: [key] };
    expect((await store.bundles.append(appended)).witAuthorities).toEqual([key]);
    await store.close();
  });

  test("a transaction that waits in the log of a server that was killed is there afterwards", async () => {
    const killed = await open();
    await killed.entries.create([makeEntry("a")]);
    const copy = join(directory, "copy.sqlite3");
    for (const suffix of ["", "-wal"]) copyFileSync(`${path}${suffix}`, `${copy}${suffix}`);
    await killed.close();
    const after = await openSqliteDataStore({ path: copy, log });
    expect(await after.entries.find("a")).toEqual(makeEntry("a"));
    await after.close();
  });

  test("a change that was broken off in another journal mode is taken back", async () => {
    const store = await open();
    await store.entries.create([makeEntry("a")]);
    await store.close();
    const other = new Database(path);
    // A cache of one page, so that half of the change is in the file and what was there before in the journal.
    for (const mode of ["journal_mode = DELETE", "cache_size = 1"]) other.run(`PRAGMA ${mode}`);
    other.run("BEGIN; DELETE FROM entries");
    const fill = other.query("INSERT INTO bundles (trust_domain, document) VALUES (?, ?)");
    for (let n = 0; n < 100; n += 1) fill.run(`${n}.test`, "x".repeat(3000));
    const copy = join(directory, "copy.sqlite3");
    for (const suffix of ["", "-journal"]) copyFileSync(`${path}${suffix}`, `${copy}${suffix}`);
    other.close();
    const after = await openSqliteDataStore({ path: copy, log });
    expect(await after.entries.find("a")).toEqual(makeEntry("a"));
    expect(await after.bundles.count()).toBe(0);
    await after.close();
  });

  test("file 0600, directory 0700, also the log beside it; a looser mode is tightened", async () => {
    const modeOf = (file: string): string => (statSync(file).mode & 0o777).toString(8);
    await (await open()).close();
    chmodSync(path, 0o644);
    const store = await open();
    await store.entries.create([makeEntry("a")]);
    expect([path, `${path}-wal`, `${path}-shm`].map(modeOf)).toEqual(["600", "600", "600"]);
    expect(modeOf(join(directory, "data"))).toBe("700");
    await store.close();
  });

  test("a second server on the file is refused and leaves the first working", async () => {
    const first = await open();
    expect(String(await rejection(open()))).toMatch(path);
    await first.entries.create([makeEntry("a")]);
    await first.close();
    await (await open()).close();
  });

  test("a closed store takes nothing; what was asked for before is finished", async () => {
    const store = await open();
    const pending = store.entries.create([makeEntry("a")]);
    await store.close();
    expect(await pending).toMatchObject([{ created: true }]);
    expect(String(await rejection(store.entries.delete("a")))).toMatch("it is closed");
  });
});

describe("a datastore of an older schema", () => {
  const older = Array.from({ length: SCHEMA_VERSION - 1 }, (_, index) => index + 1);

  /** As a server of that time left it. */
  async function leave(version: number): Promise<void> {
    const now = join(directory, "now.sqlite3");
    const store = await openSqliteDataStore({ path: now, log });
    await store.joinTokens.create({ token: "secret", expiresAt: 700 });
    await store.nodes.put(makeNode("old"));
    await store.bundles.create(emptyBundle(TrustDomain.parse("other.test")));
    await store.entries.create([makeEntry("a", { federatesWith: ["other.test"] })]);
    await store.caJournals.save(Buffer.from("journal"));
    await store.close();
    mkdirSync(dirname(path), { recursive: true });
    writeOlder(now, path, version);
  }

  test.each(older)(
    "of version %d is brought up to date, and nothing in it is lost",
    async (version) => {
      await leave(version);
      const store = await open();
      const claim = {
        token: "secret",
        publicKeySha256: new Uint8Array(32),
        now: 100,
        usedSince: 40,
      };
      expect(await store.joinTokens.join(makeNode("n"), claim)).toBe("taken");
      expect(await store.entries.find("a")).toEqual(
        makeEntry("a", { federatesWith: ["other.test"] }),
      );
      expect(await store.nodes.find(makeNode("old").spiffeId)).toEqual(makeNode("old"));
      expect(await store.bundles.count()).toBe(1);
      expect(await store.caJournals.load()).toEqual(new TextEncoder().encode("journal"));
      await store.close();
    },
  );

  test("is kept as it was, beside the new one, until the next migration", async () => {
    await leave(2);
    const copies = (): string[] =>
      readdirSync(dirname(path))
        .filter((name) => name.includes(".schema-"))
        .sort();
    for (const name of ["schema-1", "schema-1.new"]) writeFileSync(`${path}.${name}`, "");
    writeFileSync(`${path}.schema-mine`, "not ours to remove");
    await (await open()).close();
    expect(copies()).toEqual(["datastore.sqlite3.schema-2", "datastore.sqlite3.schema-mine"]);
    const kept = `${path}.schema-2`;
    expect(statSync(kept).mode & 0o777).toBe(0o600);
    const content = inspectDatabase(kept);
    expect(content).toMatchObject({ schemaVersion: 2, counts: { entries: 1, agents: 1 } });
    await (await open()).close();
    expect(copies()).toContain("datastore.sqlite3.schema-2");
  });

  test("is brought up to date also where no copy can be kept", async () => {
    await leave(1);
    mkdirSync(`${path}.schema-1`);
    const warned: string[] = [];
    const warnings = createLog({ level: "warning", format: "text" }, () => 0, {
      write: (line) => void warned.push(line),
    });
    const store = await openSqliteDataStore({ path, log: warnings });
    expect(await store.entries.count({})).toBe(1);
    await store.close();
    expect(warned.join("")).toContain("without keeping a copy of the old version");
  });
});

describe("a file that cannot be the datastore is refused by name and not touched", () => {
  /** What opening does to the files, byte by byte. */
  async function refused(message: string | RegExp): Promise<void> {
    const before = readFileSync(path);
    expect(String(await rejection(open()))).toMatch(message);
    expect(String(await rejection(open()))).toMatch(path);
    expect(readFileSync(path).equals(before)).toBe(true);
  }

  beforeEach(() => mkdirSync(join(directory, "data")));

  test("not a database at all", async () => {
    writeFileSync(path, "x".repeat(5000));
    await refused("is not a SQLite database");
    expect(readdirSync(join(directory, "data")).sort()).toEqual([
      "datastore.sqlite3",
      "datastore.sqlite3.lock",
    ]);
  });

  test("a database of another program, its log included", async () => {
    const other = new Database(path, { create: true });
    other.run("PRAGMA journal_mode = WAL");
    other.run("CREATE TABLE theirs (a)");
    await refused("another program");
    other.close();
  });

  test("a newer schema", async () => {
    await (await open()).close();
    const db = new Database(path);
    db.run("PRAGMA user_version = 999");
    db.close();
    await refused(
      /schema version 999.*versions up to \d+: run the newer program, or restore a backup/,
    );
    writeFileSync(`${path}.schema-${SCHEMA_VERSION}`, "");
    await refused(`go back to ${path}.schema-${SCHEMA_VERSION}`);
  });

  test("a database with destroyed pages", async () => {
    const store = await open();
    await store.entries.create(Array.from({ length: 200 }, (_, i) => makeEntry(`e${i}`)));
    await store.close();
    const bytes = readFileSync(path);
    bytes.fill(0xa5, 3 * 4096, bytes.length - 4096);
    writeFileSync(path, bytes);
    await refused(/is damaged \(.+\): restore it from a backup/);
  });

  test("a database cut short", async () => {
    await (await open()).close();
    writeFileSync(path, readFileSync(path).subarray(0, 6000));
    await refused("is damaged");
  });

  test("a missing database whose log is still there", async () => {
    writeFileSync(`${path}-wal`, "what is left");
    expect(String(await rejection(open()))).toMatch(`${path}-wal is there`);
    expect(readFileSync(`${path}-wal`, "utf8")).toBe("what is left");
  });

  test("a half-made database of a server killed at its first start does no harm", async () => {
    writeFileSync(`${path}.new`, "half");
    await (await open()).close();
    expect(readdirSync(join(directory, "data"))).not.toContain("datastore.sqlite3.new");
  });

  test("a new database is in WAL mode when it gets its name", () => {
    prepareFile(path, log);
    expect(readFileSync(path).subarray(18, 20)).toEqual(Buffer.from([2, 2]));
    expect(readdirSync(join(directory, "data"))).toEqual(["datastore.sqlite3"]);
  });
});
