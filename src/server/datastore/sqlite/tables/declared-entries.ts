import type { Database } from "bun:sqlite";
import { setImmediate } from "node:timers/promises";
import type { DeclaredEntries, DeclaredStep, ExpectedEntry } from "#server/datastore/datastore.ts";
import { entryChangeRow, entryRow } from "#server/datastore/sqlite/rows/entry-row.ts";
import type {
  DeclaredStepRow,
  ExpectedRow,
} from "#server/datastore/sqlite/writing/declared-writes.ts";
import type { Writer } from "#server/datastore/sqlite/writing/writer.ts";

/** Rows read without letting others run; they take two milliseconds. */
const CHUNK_ROWS = 2000;

export class SqliteDeclaredEntries implements DeclaredEntries {
  readonly #reader: Database;
  readonly #writer: Writer;

  constructor(reader: Database, writer: Writer) {
    this.#reader = reader;
    this.#writer = writer;
  }

  async sets(): Promise<ReadonlyMap<string, string>> {
    const statement = this.#reader.query<{ owner: number; id: string; set: string }, [number]>(
      `SELECT owner, id, set_name AS "set" FROM declared_entries JOIN entries ON seq = owner
        WHERE owner > ? ORDER BY owner LIMIT ${CHUNK_ROWS}`,
    );
    const sets = new Map<string, string>();
    for (let last: number | undefined = 0; last !== undefined; await setImmediate()) {
      const rows = statement.all(last);
      for (const { id, set } of rows) sets.set(id, set);
      last = rows.at(-1)?.owner;
    }
    return sets;
  }

  async apply(set: string, steps: readonly DeclaredStep[]): Promise<void> {
    await this.#writer.write("declared.apply", { set, steps: steps.map(stepRow) });
  }
}

function stepRow(step: DeclaredStep): DeclaredStepRow {
  switch (step.kind) {
    case "create":
      return {
        kind: "create",
        row: entryRow(step.entry),
        replaces: step.replaces === undefined ? undefined : expectedRow(step.replaces),
      };
    case "update":
      return {
        kind: "update",
        expected: expectedRow(step.expected),
        change: step.change === undefined ? undefined : entryChangeRow(step.change),
      };
    case "remove":
      return { kind: "remove", expected: expectedRow(step.expected) };
  }
}

function expectedRow({ id, revisionNumber, set }: ExpectedEntry): ExpectedRow {
  return { id, revisionNumber, set: set ?? "" };
}
