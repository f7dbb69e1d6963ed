import type { Database } from "bun:sqlite";
import type { EntryRow } from "#server/datastore/sqlite/rows/entry-row.ts";
import type { NodeRow } from "#server/datastore/sqlite/rows/node-row.ts";

/** What a write changed, as rows; the port's DataStoreChange is made of it on the other side of the thread. */
export interface RowChanges {
  readonly storedEntries: EntryRow[];
  readonly removedEntries: string[];
  readonly storedNodes: NodeRow[];
  readonly removedNodes: string[];
  readonly bundles: string[];
  readonly federationRelationships: string[];
}

/** What every write is given: the connection inside its transaction, and where to note what it changed. */
export interface WriteContext {
  readonly db: Database;
  readonly changes: RowChanges;
}

interface WriteType {
  readonly argument: unknown;
  readonly result: unknown;
}

/** The writes of one noun: for each name a function from its argument to its result. */
export type WriteFunctions<Types extends Record<keyof Types, WriteType>> = {
  readonly [Name in keyof Types]: (
    context: WriteContext,
    argument: Types[Name]["argument"],
  ) => Types[Name]["result"];
};

export function noChanges(): RowChanges {
  return {
    storedEntries: [],
    removedEntries: [],
    storedNodes: [],
    removedNodes: [],
    bundles: [],
    federationRelationships: [],
  };
}
