/** A database as an earlier version of the program left it; only tests use it. */
import { Database } from "bun:sqlite";
import { migrate } from "./schema.ts";

/**
 * Makes a new file by the steps that led to an older schema, and fills it from a database of today's, as far as there was a place for it.
 *
 * @param source its server is stopped
 */
export function writeOlder(source: string, target: string, version: number): void {
  using db = new Database(target, { create: true, strict: true });
  migrate(db, version);
  db.query("ATTACH ? AS source").run(source);
  const tables = db
    .query<{ name: string }, []>(
      "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name <> 'sqlite_sequence' ORDER BY rootpage",
    )
    .all();
  db.transaction(() => {
    for (const { name } of tables) {
      const columns = db
        .query<{ name: string }, [string]>("SELECT name FROM pragma_table_info(?, 'main')")
        .all(name)
        .map((column) => column.name)
        .join(", ");
      db.run(`INSERT INTO main.${name} (${columns}) SELECT ${columns} FROM source.${name}`);
    }
  })();
  db.run("DETACH source");
  db.run("PRAGMA journal_mode = WAL");
}
