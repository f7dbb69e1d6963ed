import type { Database } from "bun:sqlite";
import type { BundleDeleteMode } from "#server/datastore/datastore.ts";
import {
  type BundleDocument,
  type BundleRow,
  type KeyDocument,
  parseDocument,
} from "#server/datastore/sqlite/rows/bundle-row.ts";
import { type EntryRow, SELECT_ENTRIES } from "#server/datastore/sqlite/rows/entry-row.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { deleteEntries } from "./entry-writes.ts";
import type { WriteContext, WriteFunctions } from "./write-context.ts";

export interface BundleWriteTypes {
  "bundles.create": { argument: BundleRow; result: undefined };
  "bundles.set": { argument: BundleRow; result: undefined };
  /** From the addition to the whole. */
  "bundles.append": { argument: BundleRow; result: BundleRow };
  /** Whether the bundle was still the expected one, and so was replaced. */
  "bundles.replace": { argument: { expected: BundleRow; document: string }; result: boolean };
  "bundles.delete": {
    argument: { trustDomain: string; mode: BundleDeleteMode };
    result: undefined;
  };
}

export const bundleWrites: WriteFunctions<BundleWriteTypes> = {
  "bundles.create": (context, row) => {
    if (storedBundle(context.db, row.trustDomain) !== undefined) {
      throw new StatusError(StatusCode.ALREADY_EXISTS, "bundle already exists");
    }
    storeBundle(context, row);
    return undefined;
  },

  "bundles.set": (context, row) => {
    storeBundle(context, row);
    return undefined;
  },

  "bundles.append": (context, addition) => {
    const before = storedBundle(context.db, addition.trustDomain);
    if (before === undefined) {
      storeBundle(context, addition);
      return addition;
    }
    const merged = merge(parseDocument(before.document), parseDocument(addition.document));
    if (merged === undefined) return before;
    const after = { ...before, document: JSON.stringify(merged) };
    storeBundle(context, after);
    return after;
  },

  "bundles.replace": (context, { expected, document }) => {
    const current = storedBundle(context.db, expected.trustDomain);
    if (current?.document !== expected.document) return false;
    storeBundle(context, { ...expected, document });
    return true;
  },

  "bundles.delete": (context, { trustDomain, mode }) => {
    if (storedBundle(context.db, trustDomain) === undefined) {
      throw new StatusError(StatusCode.NOT_FOUND, "bundle not found");
    }
    release(context, trustDomain, mode);
    context.db.query("DELETE FROM bundles WHERE trust_domain = ?").run(trustDomain);
    context.changes.bundles.push(trustDomain);
    return undefined;
  },
};

function storedBundle(db: Database, trustDomain: string): BundleRow | undefined {
  return (
    db
      .query<BundleRow, [string]>(
        "SELECT trust_domain AS trustDomain, document FROM bundles WHERE trust_domain = ?",
      )
      .get(trustDomain) ?? undefined
  );
}

/** Creates or replaces a bundle. */
export function storeBundle(
  { db, changes }: WriteContext,
  { trustDomain, document }: BundleRow,
): void {
  db.query(
    "INSERT INTO bundles (trust_domain, document) VALUES (?, ?) ON CONFLICT (trust_domain) DO UPDATE SET document = excluded.document",
  ).run(trustDomain, document);
  changes.bundles.push(trustDomain);
}

/** Undefined when there is nothing to add. What is there stays as it is: appending never lifts a taint. */
function merge(bundle: BundleDocument, addition: BundleDocument): BundleDocument | undefined {
  const certificates = new Set(bundle.x509Authorities.map(({ certificate }) => certificate));
  const x509Authorities = addition.x509Authorities.filter(
    ({ certificate }) => !certificates.has(certificate),
  );
  const jwtAuthorities = missingKeys(bundle.jwtAuthorities, addition.jwtAuthorities);
  const witAuthorities = missingKeys(bundle.witAuthorities, addition.witAuthorities);
  if (x509Authorities.length + jwtAuthorities.length + witAuthorities.length === 0) {
    return undefined;
  }
  return {
    ...bundle,
    x509Authorities: [...bundle.x509Authorities, ...x509Authorities],
    jwtAuthorities: [...bundle.jwtAuthorities, ...jwtAuthorities],
    witAuthorities: [...bundle.witAuthorities, ...witAuthorities],
    sequenceNumber: bundle.sequenceNumber + 1,
  };
}

/** The keys of an addition whose IDs are not there: of two keys under one ID, chance would say which verifies. */
function missingKeys(
  present: readonly KeyDocument[],
  addition: readonly KeyDocument[],
): KeyDocument[] {
  const known = new Set(present.map(({ keyId }) => keyId));
  return addition.filter(({ keyId }) => !known.has(keyId));
}

/** Frees a bundle from the entries that federate with it, in the way the caller asked for. */
function release(context: WriteContext, trustDomain: string, mode: BundleDeleteMode): void {
  const { db, changes } = context;
  const entries = db
    .query<EntryRow, [string]>(
      `${SELECT_ENTRIES} WHERE seq IN (SELECT owner FROM entry_federation WHERE trust_domain = ?) ORDER BY seq`,
    )
    .all(trustDomain);
  if (entries.length === 0) return;
  switch (mode) {
    case "restrict":
      throw new StatusError(
        StatusCode.FAILED_PRECONDITION,
        `cannot delete bundle; federated with ${entries.length} registration entries`,
      );
    case "delete":
      deleteEntries(context, entries);
      return;
    case "dissociate":
      db.query("DELETE FROM entry_federation WHERE trust_domain = ?").run(trustDomain);
      for (const { id } of entries) {
        const after = db.query<EntryRow, [string]>(`${SELECT_ENTRIES} WHERE id = ?`).get(id);
        if (after !== null) changes.storedEntries.push(after);
      }
  }
}
