import type { Database } from "bun:sqlite";
import { type EntryRow, SELECT_ENTRIES } from "#server/datastore/sqlite/rows/entry-row.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { changeEntry, createEntry, deleteEntries, type StoredEntry } from "./entry-writes.ts";
import type { WriteContext, WriteFunctions } from "./write-context.ts";

/** An entry as it was when a step was thought out; an empty set stands for one made by hand. */
export interface ExpectedRow {
  id: string;
  revisionNumber: number;
  set: string;
}

export type DeclaredStepRow =
  | { kind: "create"; row: EntryRow; replaces: ExpectedRow | undefined }
  | { kind: "update"; expected: ExpectedRow; change: Partial<EntryRow> | undefined }
  | { kind: "remove"; expected: ExpectedRow };

export interface DeclaredEntryWriteTypes {
  "declared.apply": { argument: { set: string; steps: DeclaredStepRow[] }; result: null };
}

export const declaredEntryWrites: WriteFunctions<DeclaredEntryWriteTypes> = {
  "declared.apply": (context, { set, steps }) => {
    for (const step of steps) take(context, set, step);
    return null;
  },
};

function take(context: WriteContext, set: string, step: DeclaredStepRow): void {
  switch (step.kind) {
    case "create":
      if (step.replaces !== undefined) remove(context, step.replaces);
      create(context, set, step.row);
      return;
    case "update": {
      const before = entryAsExpected(context.db, step.expected);
      if (step.change !== undefined) changeEntry(context, before, step.change);
      mark(context.db, before.id, set);
      return;
    }
    case "remove":
      remove(context, step.expected);
  }
}

function create(context: WriteContext, set: string, row: EntryRow): void {
  if (!createEntry(context, row).created) throw notAsExpected(row.id);
  mark(context.db, row.id, set);
}

function remove(context: WriteContext, expected: ExpectedRow): void {
  deleteEntries(context, [entryAsExpected(context.db, expected)]);
}

function mark(db: Database, id: string, set: string): void {
  db.query(
    "INSERT OR REPLACE INTO declared_entries (owner, set_name) SELECT seq, ? FROM entries WHERE id = ?",
  ).run(set, id);
}

/** @throws StatusError ABORTED when it is gone, was changed, or changed hands */
function entryAsExpected(db: Database, { id, revisionNumber, set }: ExpectedRow): StoredEntry {
  const entry = db
    .query<StoredEntry, [string, number, string]>(
      `${SELECT_ENTRIES} WHERE id = ? AND revision_number = ?
        AND ifnull((SELECT set_name FROM declared_entries WHERE owner = entries.seq), '') = ?`,
    )
    .get(id, revisionNumber, set);
  if (entry === null) throw notAsExpected(id);
  return entry;
}

function notAsExpected(id: string): StatusError {
  return new StatusError(
    StatusCode.ABORTED,
    `entry ${JSON.stringify(id)} was changed by somebody else meanwhile`,
  );
}
