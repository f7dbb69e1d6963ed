/** Connections to a database file, and the look at its header that comes before the first one. */
import { Database, SQLiteError } from "bun:sqlite";
import { closeSync, openSync, readSync } from "node:fs";
import { APPLICATION_ID } from "./schema.ts";

/** What SQLite puts beside a database, by the end of its name. */
export const COMPANIONS: readonly string[] = ["-wal", "-shm", "-journal"];
const HEADER_BYTES = 100;
const APPLICATION_ID_OFFSET = 68;
/** How long a statement waits for the other connection; only a checkpoint ever holds it up. */
const BUSY_TIMEOUT_MS = 10_000;

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

/** Whether SQLite finds the file itself broken, rather than hard to get at. */
export function isDamage(error: unknown): boolean {
  if (!(error instanceof SQLiteError)) return false;
  const primary = error.errno & 0xff;
  return primary === SQLITE_CORRUPT || primary === SQLITE_NOTADB;
}

const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;
