/**
 * The DataStore on SQLite: one file, write-ahead log, every commit synced (synchronous=FULL). The server opens it once, at
 * start; nothing else may open it while it runs. It never overwrites a file that is damaged, newer or not ours.
 *
 * Writes run on a thread of their own, reads on this one by a second, read-only connection. Measured on two cores: on a
 * good disk a commit takes 0.2 ms, but creating 500 entries takes 11 ms of computing; on a disk whose sync takes 50 ms (an
 * SD card's are like that) each commit would stop every other caller for 52 ms, that batch for 67 ms. With the thread both
 * keep the event loop for 2 ms, whatever the disk; it costs 0.1 ms a write and 9 MB of memory.
 *
 * Why not SQLite's own exclusive lock: it would lock out our second connection too, and cannot say who holds it. The lock
 * is a file beside the database, `<path>.lock`, which the kernel frees when its holder dies in whatever way.
 */
import type { Database } from "bun:sqlite";
import { dirname } from "node:path";
import type { Worker } from "node:worker_threads";
import { makePrivateDirectory } from "#files/data-directory.ts";
import { type FileLock, lockFile } from "#files/lock.ts";
import { ownerRules } from "#files/obeyed.ts";
import { wayOut } from "#files/write-error.ts";
import type { Log } from "#log/log.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import { openReadable } from "#server/datastore/sqlite/file/connection.ts";
import { prepareFile } from "#server/datastore/sqlite/file/file.ts";
import { SqliteBundles } from "#server/datastore/sqlite/tables/bundles.ts";
import { SqliteCaJournals } from "#server/datastore/sqlite/tables/ca-journals.ts";
import { SqliteDeclaredEntries } from "#server/datastore/sqlite/tables/declared-entries.ts";
import { SqliteEntries } from "#server/datastore/sqlite/tables/entries.ts";
import { SqliteFederationRelationships } from "#server/datastore/sqlite/tables/federation-relationships.ts";
import { SqliteJoinTokens } from "#server/datastore/sqlite/tables/join-tokens.ts";
import { SqliteNodes } from "#server/datastore/sqlite/tables/nodes.ts";
import { Writer } from "#server/datastore/sqlite/writing/writer.ts";
import { errorText } from "#spiffe/status-error.ts";

interface SqliteSettings {
  /** The database file. It and its directory are created if missing, readable by their owner alone. */
  readonly path: string;
  readonly log: Log;
  /** What writes, when it was started already. */
  readonly thread?: Worker | undefined;
}

/**
 * Opens the store, creating the file or migrating it to this program's schema.
 *
 * @throws Error naming the file: held by another process, damaged, of a newer schema, another program's, not writable
 */
export async function openSqliteDataStore(settings: SqliteSettings): Promise<DataStore> {
  const { path, log, thread } = settings;
  makePrivateDirectory(dirname(path), ownerRules());
  const lock = lockFile(`${path}.lock`);
  let writer: Writer | undefined;
  try {
    prepareFile(path, log);
    writer = await Writer.start(path, log, thread);
    return assemble(writer, openReadable(path), lock);
  } catch (error) {
    await writer?.close();
    lock.release();
    throw named(path, error);
  }
}

/** SQLite does not say which file it means, nor that a disk is full when it cannot map its shared memory. */
function named(path: string, error: unknown): Error {
  const text = errorText(error);
  const what = text.includes(path) ? text : `cannot open datastore ${path}: ${text}`;
  return new Error(`${what}${wayOut(path, error)}`, { cause: error });
}

function assemble(writer: Writer, reader: Database, lock: FileLock): DataStore {
  return {
    joinTokens: new SqliteJoinTokens(reader, writer),
    nodes: new SqliteNodes(reader, writer),
    entries: new SqliteEntries(reader, writer),
    declaredEntries: new SqliteDeclaredEntries(reader, writer),
    bundles: new SqliteBundles(reader, writer),
    federationRelationships: new SqliteFederationRelationships(reader, writer),
    caJournals: new SqliteCaJournals(reader, writer),
    onChange: (listener) => writer.onChange(listener),
    close: async () => {
      reader.close();
      await writer.close();
      lock.release();
    },
  };
}
