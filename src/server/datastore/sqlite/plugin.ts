/** DataStore `sql`: of the databases that the reference takes, SQLite. */
import type { Worker } from "node:worker_threads";
import type { Plugin } from "#config/plugin.ts";
import type { Log } from "#log/log.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import { readSqlConfig, type SqlConfig } from "./config.ts";
import { openSqliteDataStore } from "./open.ts";

interface DataStoreParts {
  readonly log: Log;
  /** What writes, when it was started already. */
  readonly writerThread?: Worker | undefined;
}

export const sqlDataStore: Plugin<SqlConfig, DataStoreParts, DataStore> = {
  name: "sql",
  read: readSqlConfig,
  privateFiles: () => [],
  open: ({ connectionString: path }, { log, writerThread: thread }) =>
    openSqliteDataStore({ path, log, thread }),
  reconfigure: "at start",
};
