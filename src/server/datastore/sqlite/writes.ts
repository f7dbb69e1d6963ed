/**
 * All writes by name: what crosses to the writer thread and what runs there. Arguments and results are plain values that
 * survive structured cloning. A write shares a transaction with others but has a savepoint of its own: it throws to undo
 * itself alone.
 */
import { type BundleWriteTypes, bundleWrites } from "./bundle-writes.ts";
import { type JournalWriteTypes, journalWrites } from "./ca-journals.ts";
import { type DeclaredEntryWriteTypes, declaredEntryWrites } from "./declared-writes.ts";
import { type EntryWriteTypes, entryWrites } from "./entry-writes.ts";
import {
  type FederationRelationshipWriteTypes,
  federationRelationshipWrites,
} from "./federation-relationship-writes.ts";
import { type JoinTokenWriteTypes, joinTokenWrites } from "./join-tokens.ts";
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
