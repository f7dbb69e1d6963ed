import type { Database } from "bun:sqlite";
import type {
  CreateEntryResult,
  Entries,
  EntryChange,
  EntryFilter,
  Listing,
  Page,
} from "#server/datastore/datastore.ts";
import {
  type EntryRow,
  entryChangeRow,
  entryFromRow,
  entryRow,
  SELECT_ENTRIES,
  writtenEntry,
} from "#server/datastore/sqlite/rows/entry-row.ts";
import { entryConditions } from "#server/datastore/sqlite/rows/filter.ts";
import { countRows, listRows } from "#server/datastore/sqlite/rows/listing.ts";
import { refusalError } from "#server/datastore/sqlite/writing/refusal.ts";
import type { Writer } from "#server/datastore/sqlite/writing/writer.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";

export class SqliteEntries implements Entries {
  readonly #reader: Database;
  readonly #writer: Writer;

  constructor(reader: Database, writer: Writer) {
    this.#reader = reader;
    this.#writer = writer;
  }

  async create(
    entries: readonly RegistrationEntry[],
  ): Promise<readonly (CreateEntryResult | Error)[]> {
    const outcomes = await this.#writer.write("entries.create", entries.map(entryRow));
    return outcomes.map((outcome) =>
      "refusal" in outcome
        ? refusalError(outcome.refusal)
        : { entry: writtenEntry(outcome.row), created: outcome.created },
    );
  }

  async find(id: string): Promise<RegistrationEntry | undefined> {
    const row = this.#reader.query<EntryRow, [string]>(`${SELECT_ENTRIES} WHERE id = ?`).get(id);
    return row === null ? undefined : entryFromRow(row);
  }

  async list(filter: EntryFilter, page: Page): Promise<Listing<RegistrationEntry>> {
    return await listRows(
      this.#reader,
      { table: "entries", select: SELECT_ENTRIES },
      entryConditions(filter),
      page,
      (row: EntryRow & { seq: number }) => entryFromRow(row),
    );
  }

  async count(filter: EntryFilter): Promise<number> {
    return await countRows(this.#reader, "entries", entryConditions(filter));
  }

  async update(id: string, change: EntryChange): Promise<RegistrationEntry> {
    const row = await this.#writer.write("entries.update", { id, change: entryChangeRow(change) });
    return writtenEntry(row);
  }

  async delete(id: string): Promise<RegistrationEntry> {
    return entryFromRow(await this.#writer.write("entries.delete", id));
  }

  async prune(expiredBefore: number): Promise<readonly RegistrationEntry[]> {
    return (await this.#writer.write("entries.prune", expiredBefore)).map(entryFromRow);
  }
}
