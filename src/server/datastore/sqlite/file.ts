import { Database, SQLiteError } from "bun:sqlite";
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname } from "node:path";
import { errorText } from "#spiffe/status-error.ts";
import { APPLICATION_ID, migrate, SCHEMA_VERSION, schemaVersion } from "./schema.ts";

/** What SQLite puts beside a database, by the end of its name. */
export const COMPANIONS: readonly string[] = ["-wal", "-shm", "-journal"];
const HEADER_BYTES = 100;
const APPLICATION_ID_OFFSET = 68;
/** How long a statement waits for the other connection; only a checkpoint ever holds it up. */
const BUSY_TIMEOUT_MS = 10_000;

/**
 * Makes the file at the path a sound database of this program's schema: creates it, or checks and migrates what is there.
 * The caller holds the lock.
 *
 * @throws Error naming the file, which is then as it was before
 */
export function prepareFile(path: string): void {
  if (!existsSync(path) || statSync(path).size === 0) {
    createFile(path);
    return;
  }
  checkHeader(path);
  checkContent(path);
  // The file holds what decides over every identity; a looser mode is an accident of a copy or a restore.
  chmodSync(path, 0o600);
  const db = openWritable(path);
  try {
    migrate(db);
  } finally {
    db.close();
  }
}

/** The connection that writes. FULL: a commit returns after the write-ahead log is on the disk. */
export function openWritable(path: string): Database {
  const db = new Database(path, { readwrite: true, create: false, strict: true });
  db.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
  db.run("PRAGMA journal_mode = WAL");
  db.run("PRAGMA synchronous = FULL");
  db.run("PRAGMA foreign_keys = ON");
  return db;
}

/** A connection that reads what is committed and cannot write. */
export function openReadable(path: string): Database {
  const db = new Database(path, { readonly: true, strict: true });
  db.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
  return db;
}

/**
 * Builds the new database under another name and renames it when it is whole. So a file under the final name always has
 * its application ID in the header, and a header without it is somebody else's file, never our own half-made one. It is
 * in WAL mode before it is renamed: a kill while the mode is changed leaves a rollback journal behind.
 */
function createFile(path: string): void {
  const draft = `${path}.new`;
  for (const suffix of ["", ...COMPANIONS]) rmSync(`${draft}${suffix}`, { force: true });
  // SQLite would create the file with the umask's mode; its -wal and -shm files take over the mode of this one.
  closeSync(openSync(draft, "wx", 0o600));
  const db = new Database(draft, { readwrite: true, create: false, strict: true });
  try {
    migrate(db);
    db.run("PRAGMA journal_mode = WAL");
  } finally {
    db.close();
  }
  // What lies beside a file that is gone belongs to another history: SQLite would replay it into the new database.
  for (const suffix of COMPANIONS) refuseLeftover(`${path}${suffix}`, path);
  renameSync(draft, path);
  syncDirectory(dirname(path));
}

function refuseLeftover(leftover: string, path: string): void {
  if (!existsSync(leftover)) return;
  throw new Error(
    `datastore ${path} is missing, but ${leftover} is there and may hold its last changes: put the database back beside it, or move it away to start with an empty datastore`,
  );
}

function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Reads the header by itself: SQLite would already make files beside a database that is not ours. */
export function checkHeader(path: string): void {
  const header = Buffer.alloc(HEADER_BYTES);
  const descriptor = openSync(path, "r");
  try {
    readSync(descriptor, header, 0, HEADER_BYTES, 0);
  } finally {
    closeSync(descriptor);
  }
  if (header.toString("latin1", 0, 16) !== "SQLite format 3\0") {
    throw new Error(
      `datastore ${path} is not a SQLite database, or its first bytes are damaged: restore it from a backup, or name another file; it was not changed`,
    );
  }
  if (header.readUInt32BE(APPLICATION_ID_OFFSET) !== APPLICATION_ID) {
    throw new Error(
      `datastore ${path} is a SQLite database of another program: name another file; it was not changed`,
    );
  }
}

/** Checks a database without changing it: a connection that may write would fold the log into a damaged file on closing. */
function checkContent(path: string): void {
  let problem: string | undefined;
  let version = 0;
  try {
    takeBackUnfinished(path);
    const db = openReadable(path);
    try {
      problem = quickCheck(db);
      version = schemaVersion(db);
    } finally {
      db.close();
    }
  } catch (error) {
    if (!(error instanceof SQLiteError) || !isDamage(error)) {
      throw new Error(`cannot open datastore ${path}: ${errorText(error)}`, { cause: error });
    }
    problem = error.message;
  }
  if (problem !== undefined) {
    throw new Error(
      `datastore ${path} is damaged (${problem}): restore it from a backup; it was not changed`,
    );
  }
  if (version > SCHEMA_VERSION) {
    throw new Error(
      `datastore ${path} has schema version ${version}, this program knows versions up to ${SCHEMA_VERSION}: run the newer program; the file was not changed`,
    );
  }
}

/**
 * A rollback journal is there when a database that was put back in another journal mode was about to be changed to ours.
 * SQLite takes back what was not committed as soon as a connection reads that may write; one that only reads is refused.
 */
function takeBackUnfinished(path: string): void {
  if (!existsSync(`${path}-journal`)) return;
  const db = new Database(path, { readwrite: true, create: false, strict: true });
  try {
    schemaVersion(db);
  } finally {
    db.close();
  }
}

function quickCheck(db: Database): string | undefined {
  const rows = db.query<{ quick_check: string }, []>("PRAGMA quick_check(1)").all();
  // A finding comes after a headline that names the database within the connection.
  const finding = rows[0]?.quick_check.split("\n").at(-1);
  return finding === "ok" ? undefined : (finding ?? "no answer from quick_check");
}

function isDamage(error: SQLiteError): boolean {
  const primary = error.errno & 0xff;
  return primary === SQLITE_CORRUPT || primary === SQLITE_NOTADB;
}

const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;
