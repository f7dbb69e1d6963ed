/**
 * The program of the writer thread: owns the only connection that writes, and turns each message into one transaction.
 * Started by Writer; an entry point of its own in the server's executable. It holds no policy and answers nothing before
 * the commit.
 */

import type { Database } from "bun:sqlite";
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import { parentPort } from "node:worker_threads";
import { KeptFiles } from "#files/kept-files.ts";
import { wayOut } from "#files/write-error.ts";
import { openWritable } from "#server/datastore/sqlite/file/connection.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { isDiskFull, type Refusal, refusalOf } from "./refusal.ts";
import { noChanges, type RowChanges } from "./write-context.ts";
import type { WriteCall, WriteOutcome, WriterReply, WriterRequest } from "./writer.ts";
import { WRITES, type WriteName, type WriteTypes } from "./writes.ts";

/**
 * With less space than that, the write-ahead log is folded into the database after each commit. Else it grows to four megabytes
 * first, and on a small disk would take the very space that the database needs to take it in.
 */
const SCARCE_BYTES = 8 * 1024 * 1024;

/** Set by the first message, before which there is no other. */
let path: string;
let db: Database;
let kept: KeptFiles;

parentPort?.on("message", (request: WriterRequest) => {
  if (request === "close") {
    db.close();
    reply("closed");
  } else if ("open" in request) {
    path = request.open;
    db = openWritable(path);
    kept = new KeptFiles([path], [`${path}.lock`]);
    reply("open");
  } else {
    reply({ outcomes: commit(request.calls) });
    if (isSpaceScarce()) foldLog();
  }
});

function reply(message: WriterReply): void {
  parentPort?.postMessage(message);
}

/** All calls in one transaction. One that throws is undone alone; if the commit fails, all of them failed. */
function commit(calls: readonly WriteCall[]): WriteOutcome[] {
  try {
    return transact(calls);
  } catch (error) {
    // A log that was folded in starts over, in the space that it has already.
    const again = isDiskFull(error) && foldLog() ? transactAgain(calls) : undefined;
    if (again !== undefined) return again;
    const refusal = explained(error);
    return calls.map(() => ({ refusal }));
  }
}

/** @throws StatusError UNAVAILABLE when the database is not the file at its path any more, or must not be written to */
function refuseLost(): void {
  const problem = kept.obstacle();
  if (problem === undefined) return;
  const { kind, text } = problem;
  const next = kind === "lost" ? "; restore a backup before the server is started again" : "";
  throw new StatusError(StatusCode.UNAVAILABLE, `nothing can be stored: ${text}${next}`);
}

/** What a write failed of, with the way out. SQLite knows neither: to it, a file system that was made read-only is an I/O error. */
function explained(error: unknown): Refusal {
  const refusal = refusalOf(error);
  if (refusal.fault === undefined) return refusal;
  const problem = kept.obstacle();
  const hint = problem === undefined ? wayOut(path, refusal.fault) : `; ${problem.text}`;
  return { ...refusal, message: `${refusal.message}${hint}` };
}

function transactAgain(calls: readonly WriteCall[]): WriteOutcome[] | undefined {
  try {
    return transact(calls);
  } catch {
    return undefined;
  }
}

function transact(calls: readonly WriteCall[]): WriteOutcome[] {
  try {
    db.run("BEGIN IMMEDIATE");
    const outcomes = calls.map(attempt);
    // Before, so that what is refused is not there later, when the file is back; and after, since what was written to a file that is
    // deleted by then is as good as lost, and must not be called stored.
    refuseLost();
    db.run("COMMIT");
    refuseLost();
    return outcomes;
  } catch (error) {
    if (db.inTransaction) db.run("ROLLBACK");
    throw error;
  }
}

/** Moves what is in the write-ahead log into the database. @returns whether all of it was moved */
function foldLog(): boolean {
  try {
    const folded = db
      .query<{ busy: number; log: number; checkpointed: number }, []>(
        "PRAGMA wal_checkpoint(PASSIVE)",
      )
      .get();
    return folded !== null && folded.busy === 0 && folded.log === folded.checkpointed;
  } catch {
    // It stays where it is, and is as good there.
    return false;
  }
}

function isSpaceScarce(): boolean {
  const { bavail, bsize } = statfsSync(dirname(path));
  return bavail * bsize < SCARCE_BYTES;
}

function attempt(call: WriteCall): WriteOutcome {
  db.run("SAVEPOINT attempt");
  try {
    const changes = noChanges();
    const value = perform(call, changes);
    db.run("RELEASE attempt");
    return { value, changes };
  } catch (error) {
    // A full disk or an I/O error makes SQLite give up the whole transaction, and with it what the neighbours wrote.
    if (!db.inTransaction) throw error;
    db.run("ROLLBACK TO attempt");
    db.run("RELEASE attempt");
    return { refusal: explained(error) };
  }
}

function perform<Name extends WriteName>(
  call: WriteCall<Name>,
  changes: RowChanges,
): WriteTypes[Name]["result"] {
  return WRITES[call.name]({ db, changes }, call.argument);
}
