/**
 * Copies of the database file: made while a server writes to it, looked into, and made ready to be the database of a server. Used by
 * backups, and before a migration.
 */
import { Database, SQLiteError } from "bun:sqlite";
import { closeSync, openSync } from "node:fs";
import { wayOut } from "#files/write-error.ts";
import { errorText } from "#spiffe/status-error.ts";
import { COMPANIONS, checkHeader, isDamage, openReadable } from "./connection.ts";
import { SCHEMA_VERSION, schemaVersion } from "./schema.ts";

/** How much there is of what. */
export interface DatabaseCounts {
  readonly entries: number;
  readonly agents: number;
  /** Those that nobody used yet. */
  readonly joinTokens: number;
  /** Of this trust domain and of others. */
  readonly bundles: number;
  readonly federationRelationships: number;
}

export interface DatabaseContent {
  readonly schemaVersion: number;
  readonly counts: DatabaseCounts;
  /** The CA journal's record; undefined in the store of a server that never started. */
  readonly journal: Uint8Array | undefined;
}

/**
 * Copies a database into a new file, as it is at one moment, whatever is written to it meanwhile; no writer waits. The copy holds nothing
 * that was deleted, and needs no file beside it.
 *
 * @throws Error naming the file
 */
export function copyDatabase(path: string, target: string): void {
  checkHeader(path);
  // SQLite would create it with the umask's mode.
  closeSync(openSync(target, "wx", 0o600));
  try {
    using db = openReadable(path);
    db.query("VACUUM INTO ?").run(target);
  } catch (error) {
    const hint = wayOut(target, error);
    throw new Error(`cannot copy datastore ${path}: ${errorText(error)}${hint}`, { cause: error });
  }
}

/**
 * Checks a copy through and through, and tells what is in it.
 *
 * @throws Error saying what is wrong with it
 */
export function inspectDatabase(path: string): DatabaseContent {
  try {
    checkHeader(path);
    using db = openReadable(path);
    const version = schemaVersion(db);
    if (version > SCHEMA_VERSION) {
      throw new Error(
        `its datastore has schema version ${version}, this spire-server knows versions up to ${SCHEMA_VERSION}: use the later spire-server that made it`,
      );
    }
    checkIntegrity(db);
    const journal = db
      .query<{ record: Uint8Array }, []>("SELECT record FROM ca_journal WHERE id = 1")
      .get()?.record;
    return { schemaVersion: version, counts: countAll(db), journal };
  } catch (error) {
    if (!(error instanceof SQLiteError)) throw error;
    const what = isDamage(error) ? "is damaged" : "cannot be read";
    throw new Error(`its datastore ${what} (${error.message})`, { cause: error });
  }
}

/**
 * Makes a copy ready for a server that takes the place of the one it was made of. The join tokens are taken out: which of them let a node in
 * since then, nobody knows, and none may do so twice.
 */
export function prepareRestored(path: string): void {
  using db = new Database(path, { readwrite: true, create: false, strict: true });
  db.run("PRAGMA synchronous = FULL");
  db.run("DELETE FROM join_tokens");
}

/** The names of what SQLite may have put beside a database. */
export function companionsOf(path: string): readonly string[] {
  return COMPANIONS.map((suffix) => `${path}${suffix}`);
}

function checkIntegrity(db: Database): void {
  const [finding] = db
    .query<{ integrity_check: string }, []>("PRAGMA integrity_check(1)")
    .all()
    .map((row) => row.integrity_check);
  if (finding !== "ok") throw new Error(`its datastore is damaged (${finding ?? "no answer"})`);
  const dangling = db.query<{ table: string }, []>("PRAGMA foreign_key_check").get();
  if (dangling !== null) {
    throw new Error(`its datastore is damaged (${dangling.table} refers to what is not there)`);
  }
}

function countAll(db: Database): DatabaseCounts {
  const count = (rows: string): number => countRows(db, rows);
  const isUsed = schemaVersion(db) >= 2 ? " WHERE used_at IS NULL" : "";
  return {
    entries: count("entries"),
    agents: count("nodes"),
    joinTokens: count(`join_tokens${isUsed}`),
    bundles: count("bundles"),
    federationRelationships: schemaVersion(db) >= 3 ? count("federation_relationships") : 0,
  };
}

function countRows(db: Database, rows: string): number {
  return db.query<{ n: number }, []>(`SELECT count(*) AS n FROM ${rows}`).get()?.n ?? 0;
}
