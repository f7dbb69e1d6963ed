import type { Database } from "bun:sqlite";
import type { CaJournals } from "#server/datastore/datastore.ts";
import type { WriteFunctions } from "#server/datastore/sqlite/writing/write-context.ts";
import type { Writer } from "#server/datastore/sqlite/writing/writer.ts";

export class SqliteCaJournals implements CaJournals {
  readonly #reader: Database;
  readonly #writer: Writer;

  constructor(reader: Database, writer: Writer) {
    this.#reader = reader;
    this.#writer = writer;
  }

  async load(): Promise<Uint8Array | undefined> {
    return this.#reader
      .query<{ record: Uint8Array }, []>("SELECT record FROM ca_journal WHERE id = 1")
      .get()?.record;
  }

  async save(journal: Uint8Array): Promise<void> {
    await this.#writer.write("caJournals.save", journal);
  }
}

export interface JournalWriteTypes {
  "caJournals.save": { argument: Uint8Array; result: undefined };
}

export const journalWrites: WriteFunctions<JournalWriteTypes> = {
  "caJournals.save": ({ db }, record) => {
    db.query(
      "INSERT INTO ca_journal (id, record) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record",
    ).run(record);
    return undefined;
  },
};
