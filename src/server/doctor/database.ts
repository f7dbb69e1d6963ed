/**
 * Looks into the database, whether a server runs on it or not. It must leave no trace: a connection to a database in WAL mode makes files
 * beside it, which would belong to whoever runs the check and lock the server out. So files are read as they are where nobody has them open.
 */
import { constants, Database } from "bun:sqlite";
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { type Finding, fail, ok, warn } from "#cli/doctor/finding.ts";
import { CLOCK_TOLERANCE_SECONDS, whenText } from "#cli/doctor/times.ts";
import {
  APPLICATION_ID,
  SCHEMA_VERSION,
  schemaVersion,
} from "#server/datastore/sqlite/file/schema.ts";

const CHECK = "database";
/** Looking through all of a larger one takes long, and reads it from disk. */
const MAX_CHECKED_BYTES = 256 * 1024 * 1024;
const BUSY_TIMEOUT_MS = 5_000;

/** @param now Unix seconds @throws SQLiteError */
export function checkDatabase(path: string, now: number): readonly Finding[] {
  if (!existsSync(path)) {
    const advice = "start the server once, or name the file in connection_string where it is";
    return [fail(CHECK, `${path} is not there`, advice)];
  }
  if (isOtherFile(path)) {
    const advice = "name another file in connection_string, or restore this one from a backup";
    return [fail(CHECK, `${path} is not a database of spire-edge`, advice)];
  }
  const db = openDatabase(path);
  if (db === undefined) {
    const advice = "start the server: it takes up what is in the log";
    return [warn(CHECK, `${path} was not closed, and cannot be looked into as it is`, advice)];
  }
  try {
    return [...checkContent(db, path), ...checkTimes(db, now), ...checkTokens(db, now)];
  } finally {
    db.close();
  }
}

/** When each authority was made, in Unix seconds by its ID; empty where that cannot be looked up. */
export function authorityTimes(path: string): ReadonlyMap<string, number> {
  try {
    if (isOtherFile(path)) return new Map();
    const db = openDatabase(path);
    try {
      return new Map(
        journal(db).map(({ authorityId, issuedAt }) => [authorityId, issuedAt] as const),
      );
    } finally {
      db?.close();
    }
  } catch {
    return new Map();
  }
}

/** @returns undefined when to open it would leave a trace */
function openDatabase(path: string): Database | undefined {
  if (!existsSync(`${path}-wal`)) return openUntouched(path);
  return existsSync(`${path}-shm`) ? openShared(path) : undefined;
}

/** As the header says it (offsets 0 and 68). */
function isOtherFile(path: string): boolean {
  const header = Buffer.alloc(100);
  const descriptor = openSync(path, "r");
  try {
    readSync(descriptor, header, 0, header.length, 0);
  } finally {
    closeSync(descriptor);
  }
  return (
    header.toString("latin1", 0, 15) !== "SQLite format 3" ||
    header.readUInt32BE(68) !== APPLICATION_ID
  );
}

/** The server has it open, or left its files behind. */
function openShared(path: string): Database {
  const db = new Database(path, { readonly: true });
  db.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
  return db;
}

/** Nobody has it open, so nothing changes: SQLite then needs no files beside it. */
function openUntouched(path: string): Database {
  const { SQLITE_OPEN_READONLY, SQLITE_OPEN_URI } = constants;
  const uri = `file:${encodeURI(path).replaceAll("?", "%3f").replaceAll("#", "%23")}?immutable=1`;
  return new Database(uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
}

function checkContent(db: Database, path: string): readonly Finding[] {
  const version = schemaVersion(db);
  const shown = `${path}, schema version ${version}`;
  if (version > SCHEMA_VERSION) {
    const advice = `run the newer spire-server: this one knows versions up to ${SCHEMA_VERSION}`;
    return [fail(CHECK, `${shown}, was written by a newer spire-server`, advice)];
  }
  if (statSync(path).size > MAX_CHECKED_BYTES) return [ok(CHECK, `${shown}, not looked through`)];
  const [row] = db.query<{ quick_check: string }, []>("PRAGMA quick_check(1)").all();
  const problem = row?.quick_check ?? "no answer";
  if (problem !== "ok") {
    return [fail(CHECK, `${path} is damaged: ${problem}`, "restore it from a backup")];
  }
  return [ok(CHECK, shown)];
}

/** What was written last cannot lie ahead: then this machine's clock was ahead before, or is behind now. */
function checkTimes(db: Database, now: number): readonly Finding[] {
  const newest = db
    .query<{ at: number | null }, []>("SELECT max(created_at) AS at FROM entries")
    .get()?.at;
  const latest = Math.max(newest ?? 0, ...journal(db).map(({ issuedAt }) => issuedAt));
  if (latest <= now + CLOCK_TOLERANCE_SECONDS) return [ok("clock", "nothing stored lies ahead")];
  return [
    fail(
      "clock",
      `something was stored at ${whenText(latest, now)}, by this machine's clock`,
      "compare `date -u` with a clock that is right, and run NTP; see docs/TROUBLESHOOTING.md on clocks",
    ),
  ];
}

interface Made {
  readonly authorityId: string;
  /** Unix seconds. */
  readonly issuedAt: number;
}

/** The authorities of the CA journal, of every kind. */
function journal(db: Database | undefined): readonly Made[] {
  const row = db?.query<{ record: Uint8Array }, []>("SELECT record FROM ca_journal").get();
  if (row === null || row === undefined) return [];
  const kinds = JSON.parse(new TextDecoder().decode(row.record)) as Record<string, unknown>;
  return Object.values(kinds).flatMap((records) => (Array.isArray(records) ? records : []));
}

function checkTokens(db: Database, now: number): readonly Finding[] {
  const counts = db
    .query<{ expired: number; good: number }, [number, number]>(
      "SELECT count(*) FILTER (WHERE expires_at <= ?) AS expired, count(*) FILTER (WHERE expires_at > ?) AS good FROM join_tokens WHERE used_at IS NULL",
    )
    .get(now, now);
  const { expired = 0, good = 0 } = counts ?? {};
  const check = "join_tokens";
  if (expired === 0) return [ok(check, `${good} wait for their nodes, none has expired unused`)];
  return [
    warn(
      check,
      `${expired} have expired and were not used: nodes that hold them cannot join`,
      "give each such node a new one: spire-server token generate",
    ),
  ];
}
