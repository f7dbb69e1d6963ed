import { Database } from "bun:sqlite";
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { closeToOthers } from "#files/close-to-others.ts";
import type { Log } from "#log/log.ts";
import { errorText } from "#spiffe/status-error.ts";
import { COMPANIONS, checkHeader, isDamage, openReadable, openWritable } from "./connection.ts";
import { copyDatabase } from "./copy.ts";
import { migrate, SCHEMA_VERSION, schemaVersion } from "./schema.ts";

/**
 * Makes the file at the path a sound database of this program's schema: creates it, or checks and migrates what is there.
 * The caller holds the lock.
 *
 * @throws Error naming the file, which is then as it was before
 */
export function prepareFile(path: string, log: Log): void {
  if (!existsSync(path) || statSync(path).size === 0) {
    createFile(path);
    return;
  }
  checkHeader(path);
  const version = checkContent(path);
  // The file holds what decides over every identity; a looser mode is an accident of a copy or a restore.
  closeToOthers(path);
  if (version < SCHEMA_VERSION) keepCopy(path, version, log);
  const db = openWritable(path);
  try {
    migrate(db);
  } finally {
    db.close();
  }
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
    // Nobody finds the draft before it is renamed, and it goes to the disk as a whole before that: until then no step need be safe.
    db.run("PRAGMA journal_mode = MEMORY");
    db.run("PRAGMA synchronous = OFF");
    migrate(db);
    db.run("PRAGMA journal_mode = WAL");
  } finally {
    db.close();
  }
  sync(draft);
  // What lies beside a file that is gone belongs to another history: SQLite would replay it into the new database.
  for (const suffix of COMPANIONS) refuseLeftover(`${path}${suffix}`, path);
  renameSync(draft, path);
  sync(dirname(path));
}

function refuseLeftover(leftover: string, path: string): void {
  if (!existsSync(leftover)) return;
  throw new Error(
    `datastore ${path} is missing, but ${leftover} is there and may hold its last changes: put the database back beside it, or move it away to start with an empty datastore`,
  );
}

/** A file, or the names in a directory. */
function sync(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Checks a database without changing it: a connection that may write would fold the log into a damaged file on closing.
 *
 * @returns its schema version
 */
function checkContent(path: string): number {
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
    if (!(error instanceof Error) || !isDamage(error)) {
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
      `datastore ${path} has schema version ${version}, of a newer program; this one knows versions up to ${SCHEMA_VERSION}: run the newer program, or ${wayBack(path)}; the file was not changed`,
    );
  }
  return version;
}

function wayBack(path: string): string {
  const copy = copyBefore(path, SCHEMA_VERSION);
  return existsSync(copy)
    ? `go back to ${copy}, the copy made before the upgrade (UPGRADE.md)`
    : "restore a backup made before the upgrade (UPGRADE.md)";
}

/**
 * Keeps the database as it is before a migration, for whoever has to go back to the program of before. The copy of the migration before
 * is of no more use. A migration is one transaction, so a disk too full for the copy does not keep the server from starting.
 */
function keepCopy(path: string, version: number, log: Log): void {
  const copy = copyBefore(path, version);
  const draft = `${copy}.new`;
  const fields = { path, from_version: version, to_version: SCHEMA_VERSION };
  try {
    rmSync(draft, { force: true });
    copyDatabase(path, draft);
    sync(draft);
    renameSync(draft, copy);
    for (const other of copies(path)) if (other !== copy) rmSync(other, { force: true });
    sync(dirname(path));
    log.info("Upgrading the datastore schema; a copy of the old version was kept", {
      ...fields,
      copy,
    });
  } catch (error) {
    rmSync(draft, { force: true });
    log.warn("Upgrading the datastore schema without keeping a copy of the old version", {
      ...fields,
      error: errorText(error),
    });
  }
}

function copyBefore(path: string, version: number): string {
  return `${path}.schema-${version}`;
}

/** Those that earlier migrations left, and half-made ones. */
function copies(path: string): readonly string[] {
  const start = `${basename(path)}.schema-`;
  const isCopy = (name: string): boolean =>
    name.startsWith(start) && /^\d+(\.new)?$/.test(name.slice(start.length));
  const directory = dirname(path);
  return readdirSync(directory)
    .filter(isCopy)
    .map((name) => join(directory, name));
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
