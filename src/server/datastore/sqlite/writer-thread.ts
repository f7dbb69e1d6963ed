/**
 * The program of the writer thread: owns the only connection that writes, and turns each message into one transaction.
 * Started by Writer; an entry point of its own in the server's executable. It holds no policy and answers nothing before
 * the commit.
 */
import { parentPort, workerData } from "node:worker_threads";
import { openWritable } from "./file.ts";
import { refusalOf } from "./refusal.ts";
import { noChanges, type RowChanges } from "./write-context.ts";
import type { WriteCall, WriteOutcome, WriterReply, WriterRequest } from "./writer.ts";
import { WRITES, type WriteName, type WriteTypes } from "./writes.ts";

const db = openWritable(String(workerData));

parentPort?.on("message", (request: WriterRequest) => {
  if (request === "close") {
    db.close();
    reply("closed");
  } else {
    reply({ outcomes: commit(request.calls) });
  }
});
reply("open");

function reply(message: WriterReply): void {
  parentPort?.postMessage(message);
}

/** All calls in one transaction. One that throws is undone alone; if the commit fails, all of them failed. */
function commit(calls: readonly WriteCall[]): WriteOutcome[] {
  try {
    db.run("BEGIN IMMEDIATE");
    const outcomes = calls.map(attempt);
    db.run("COMMIT");
    return outcomes;
  } catch (error) {
    if (db.inTransaction) db.run("ROLLBACK");
    const refusal = refusalOf(error);
    return calls.map(() => ({ refusal }));
  }
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
    return { refusal: refusalOf(error) };
  }
}

function perform<Name extends WriteName>(
  call: WriteCall<Name>,
  changes: RowChanges,
): WriteTypes[Name]["result"] {
  return WRITES[call.name]({ db, changes }, call.argument);
}
