/** Backups, damaged: what is read is as its manifest says, and nothing crashes. */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import {
  archiveBytes,
  describePart,
  type Extracted,
  extractArchive,
} from "#server/backup/archive.ts";
import { inspectContents } from "#server/backup/contents.ts";
import { migrate } from "#server/datastore/sqlite/file/schema.ts";
import { attempt, damagedBytes, FUZZ_RUNS, FUZZ_TIMEOUT_MS, fuzz } from "../support/fuzzing.ts";

/** Each is a file, and a database. */
const RUNS = Math.ceil(FUZZ_RUNS / 6);
const CHECKSUM_BYTES = 40;

let directory: string;
let path: string;
let database: string;
/** The bytes of the tar archive in a backup, of the whole backup, and of the database. */
let tar: Buffer;
let whole: Buffer;
let stored: Buffer;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "fuzz-backups-"));
  path = join(directory, "backup");
  database = join(directory, "database");
  const source = join(directory, "source");
  const db = new Database(source, { create: true });
  migrate(db);
  db.run("INSERT INTO ca_journal (id, record) VALUES (1, ?)", [
    Buffer.from(`{"version": 3, "x509": [], "jwt": [], "wit": []}`),
  ]);
  db.close();
  stored = readFileSync(source);
  const contents = [Buffer.from(`{"keys": {}}`), Buffer.from("server {}"), stored];
  const names = ["keys.json", "server.conf", "datastore.sqlite3"];
  const parts = await Promise.all(
    names.map((name, index) => describePart(name, contents[index] ?? Buffer.alloc(0))),
  );
  const manifest = {
    programVersion: "1.0.0",
    schemaVersion: 1,
    trustDomain: "example.org",
    createdAt: 1_800_000_000,
    keyManager: "disk" as const,
    parts,
  };
  whole = Buffer.concat(await Array.fromAsync(archiveBytes(manifest, contents, undefined)));
  tar = zstdDecompressSync(whole.subarray(0, -CHECKSUM_BYTES));
});

afterAll(() => rmSync(directory, { recursive: true }));

/** Undefined when it is refused. */
async function read(bytes: Uint8Array): Promise<Extracted | undefined> {
  writeFileSync(path, bytes);
  rmSync(database, { force: true });
  return attempt(async () => {
    try {
      return await extractArchive(path, undefined, database);
    } catch (error) {
      expect(String(error)).toStartWith(`Error: backup ${path}`);
      throw error instanceof Error && error.cause !== undefined ? error.cause : error;
    }
  });
}

test(
  "a file that was damaged is refused",
  () =>
    fuzz(
      "backups",
      damagedBytes([whole]),
      async (bytes) => {
        if (Buffer.compare(bytes, whole) !== 0) expect(await read(bytes)).toBeUndefined();
      },
      RUNS,
    ),
  FUZZ_TIMEOUT_MS,
);

test(
  "one that was changed inside, with checksums that fit, holds what its manifest says or is refused",
  () =>
    // Most of it is the database, and that is the next test's.
    fuzz(
      "archives",
      damagedBytes([tar.subarray(0, 4096)]),
      async (start) => {
        const compressed = zstdCompressSync(Buffer.concat([start, tar.subarray(4096)]));
        const frame = whole.subarray(-CHECKSUM_BYTES, -32);
        const digest = createHash("sha256").update(compressed).digest();
        const extracted = await read(Buffer.concat([compressed, frame, digest]));
        if (extracted === undefined) return;
        const { manifest, keys, configuration } = extracted;
        const hashes = [keys, configuration, readFileSync(database)].flatMap((part) =>
          part === undefined ? [] : [createHash("sha256").update(part).digest("hex")],
        );
        expect(manifest.parts.map(({ sha256 }) => sha256)).toEqual(hashes);
      },
      RUNS,
    ),
  FUZZ_TIMEOUT_MS,
);

test(
  "databases",
  () =>
    fuzz(
      "databases",
      damagedBytes([stored]),
      async (bytes) => {
        writeFileSync(database, bytes);
        const files = { databasePath: database, keys: `{"keys": {}}`, trustDomain: "example.org" };
        await attempt(() => inspectContents(files));
      },
      RUNS,
    ),
  FUZZ_TIMEOUT_MS,
);
