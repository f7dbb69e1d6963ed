/** The keys of server.conf's `DataStore "sql"`. */
import { join } from "node:path";
import type { Block, Problems } from "#config/block.ts";
import type { Place } from "#config/plugin.ts";
import {
  type NeedlessKeys,
  type RefusedKeys,
  refuse,
  takeNeedless,
} from "#config/unsupported-settings.ts";

export interface SqlConfig {
  readonly name: "sql";
  readonly databaseType: "sqlite3";
  /** The path of the file. */
  readonly connectionString: string;
}

/** The store of a server that names none: a file in its data directory. */
export function zeroSqlConfig({ dataDir }: Place): SqlConfig {
  const connectionString = join(dataDir, "datastore.sqlite3");
  return { name: "sql", databaseType: "sqlite3", connectionString };
}

/** Reads `plugin_data`. What is wrong goes to the problems. */
export function readSqlConfig(data: Block, problems: Problems, place: Place): SqlConfig {
  readDatabaseType(data, problems);
  const connection = data.string("connection_string") ?? "";
  takeNeedless(data, STORE_NEEDLESS, problems);
  refuse(data, STORE_REFUSED, problems);
  const path = readSqlitePath(connection, data, problems);
  const zero = zeroSqlConfig(place);
  return path === "" ? zero : { ...zero, connectionString: path };
}

function readDatabaseType(data: Block, problems: Problems): void {
  const line = data.lineOf("database_type");
  // Those of the clouds are blocks with a label.
  const [labelled] = data.isObject("database_type") ? data.labelled("database_type") : [];
  const type = labelled?.label ?? data.string("database_type") ?? "";
  if (type === "") problems.add('DataStore "sql": database_type must be set', line);
  else if (type !== "sqlite3") {
    problems.add(`DataStore "sql": unsupported database_type: ${type}; use sqlite3`, line);
  }
}

const IN_PROCESS = "SQLite runs in this process, over connections of its own";
const NOT_SQLITE = "it counts with other databases than SQLite alone";

const STORE_NEEDLESS: NeedlessKeys = {
  max_open_conns: ["number", IN_PROCESS],
  max_idle_conns: ["number", IN_PROCESS],
  conn_max_lifetime: ["duration", IN_PROCESS],
  ro_connection_string: ["string", NOT_SQLITE],
  root_ca_path: ["string", NOT_SQLITE],
  client_cert_path: ["string", NOT_SQLITE],
  client_key_path: ["string", NOT_SQLITE],
};

const STORE_REFUSED: RefusedKeys = {
  log_sql: "remove the key, and watch calls of the store by telemetry { Prometheus }",
  disable_migration:
    "a store of an older version is brought up to date at start, in one transaction, and a copy of it as it was is kept; remove the key",
};

/** The reference also takes SQLite's URI form: `file:path?options`. */
function readSqlitePath(connection: string, data: Block, problems: Problems): string {
  const [path = "", options = ""] = connection.replace(/^file:/, "").split("?", 2);
  const line = data.lineOf("connection_string");
  const isMemory = path === ":memory:" || new URLSearchParams(options).get("mode") === "memory";
  if (isMemory) {
    problems.add(
      'DataStore "sql": a store in memory is not supported; give a file, on a tmpfs if nothing is to stay',
      line,
    );
  } else if (path === "") {
    problems.add('DataStore "sql": connection_string must be set', line);
  } else if (options !== "") {
    problems.note(`the options of connection_string are not needed: ${IN_PROCESS}`, line);
  }
  return path;
}
