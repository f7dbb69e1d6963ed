/**
 * All writes by name: what crosses to the writer thread and what runs there. Arguments and results are plain values that
 * survive structured cloning. A write shares a transaction with others but has a savepoint of its own: it throws to undo
 * itself alone.
 */

import {
  type JournalWriteTypes,
  journalWrites,
} from "#server/datastore/sqlite/tables/ca-journals.ts";
import {
  type JoinTokenWriteTypes,
  joinTokenWrites,
} from "#server/datastore/sqlite/tables/join-tokens.ts";
import { type BundleWriteTypes, bundleWrites } from "./bundle-writes.ts";
import { type DeclaredEntryWriteTypes, declaredEntryWrites } from "./declared-writes.ts";
import { type EntryWriteTypes, entryWrites } from "./entry-writes.ts";
import {
  type FederationRelationshipWriteTypes,
  federationRelationshipWrites,
} from "./federation-relationship-writes.ts";
import { type NodeWriteTypes, nodeWrites } from "./node-writes.ts";
import type { WriteFunctions } from "./write-context.ts";

export interface WriteTypes
  extends JoinTokenWriteTypes,
    NodeWriteTypes,
    EntryWriteTypes,
    DeclaredEntryWriteTypes,
    BundleWriteTypes,
    FederationRelationshipWriteTypes,
    JournalWriteTypes {}

export type WriteName = keyof WriteTypes;

export const WRITES: WriteFunctions<WriteTypes> = {
  ...joinTokenWrites,
  ...nodeWrites,
  ...entryWrites,
  ...declaredEntryWrites,
  ...bundleWrites,
  ...federationRelationshipWrites,
  ...journalWrites,
};
