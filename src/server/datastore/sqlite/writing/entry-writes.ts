import type { Database } from "bun:sqlite";
import { type EntryRow, SELECT_ENTRIES } from "#server/datastore/sqlite/rows/entry-row.ts";
import { parseTextList } from "#server/datastore/sqlite/rows/selector-set.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { type Refusal, refusalOf } from "./refusal.ts";
import type { WriteContext, WriteFunctions } from "./write-context.ts";

export type StoredEntry = EntryRow & { seq: number };

interface CreatedRow {
  row: EntryRow;
  created: boolean;
}

export interface EntryWriteTypes {
  "entries.create": { argument: EntryRow[]; result: (CreatedRow | { refusal: Refusal })[] };
  "entries.update": { argument: { id: string; change: Partial<EntryRow> }; result: EntryRow };
  "entries.delete": { argument: string; result: EntryRow };
  "entries.prune": { argument: number; result: EntryRow[] };
}

export const entryWrites: WriteFunctions<EntryWriteTypes> = {
  "entries.create": (context, rows) =>
    rows.map((row) => {
      try {
        return createEntry(context, row);
      } catch (error) {
        // Everything that refuses an entry is found before its first row is written, so its neighbours are not affected.
        if (error instanceof StatusError) return { refusal: refusalOf(error) };
        throw error;
      }
    }),

  "entries.update": (context, { id, change }) =>
    changeEntry(context, storedEntry(context.db, id), change),

  "entries.delete": (context, id) => {
    const entry = storedEntry(context.db, id);
    deleteEntries(context, [entry]);
    return entry;
  },

  "entries.prune": (context, expiredBefore) => {
    const expired = context.db
      .query<StoredEntry, [number]>(
        `${SELECT_ENTRIES} WHERE expires_at <> 0 AND expires_at < ? ORDER BY seq`,
      )
      .all(expiredBefore);
    deleteEntries(context, expired);
    return expired;
  },
};

/** Removes entries with all that hangs on them. */
export function deleteEntries(
  { db, changes }: WriteContext,
  entries: readonly { id: string }[],
): void {
  const remove = db.query("DELETE FROM entries WHERE id = ?");
  for (const { id } of entries) {
    remove.run(id);
    changes.removedEntries.push(id);
  }
}

/** Replaces what the change names, with all that hangs on it. */
export function changeEntry(
  { db, changes }: WriteContext,
  before: StoredEntry,
  change: Partial<EntryRow>,
): StoredEntry {
  if (change.federatesWith !== undefined) checkFederation(db, change.federatesWith);
  const after = { ...before, ...change, revisionNumber: before.revisionNumber + 1 };
  updateEntry(db, after);
  for (const table of ["entry_selectors", "entry_federation"]) {
    db.query(`DELETE FROM ${table} WHERE owner = ?`).run(before.seq);
  }
  insertLists(db, after.seq, after);
  changes.storedEntries.push(after);
  return after;
}

/** Creates an entry, unless a similar one is there. @throws StatusError before anything is written */
export function createEntry({ db, changes }: WriteContext, row: EntryRow): CreatedRow {
  const similar = similarEntry(db, row);
  if (similar !== undefined) return { row: similar, created: false };
  if (db.query("SELECT 1 FROM entries WHERE id = ?").get(row.id) !== null) {
    throw new StatusError(
      StatusCode.ALREADY_EXISTS,
      `entry ID ${JSON.stringify(row.id)} is already in use`,
    );
  }
  checkFederation(db, row.federatesWith);
  insertLists(db, insertEntry(db, row), row);
  changes.storedEntries.push(row);
  return { row, created: true };
}

const IS_SIMILAR = "WHERE selector_set = ? AND spiffe_id = ? AND parent_id = ?";
const HAS_SIMILAR = `SELECT 1 FROM entries ${IS_SIMILAR}`;
const FIRST_SIMILAR = `${SELECT_ENTRIES} ${IS_SIMILAR} ORDER BY seq LIMIT 1`;

/** Mostly there is none, which the short question finds out in a fortieth of the time. */
function similarEntry(db: Database, row: EntryRow): EntryRow | undefined {
  const key = [row.selectorSet, row.spiffeId, row.parentId] as const;
  if (db.query(HAS_SIMILAR).get(...key) === null) return undefined;
  return db.query<EntryRow, [string, string, string]>(FIRST_SIMILAR).get(...key) ?? undefined;
}

/** Refuses trust domains whose bundle is not here: a workload would be promised what the server cannot hand out. */
function checkFederation(db: Database, federatesWith: string): void {
  const known = db.query("SELECT 1 FROM bundles WHERE trust_domain = ?");
  for (const name of parseTextList(federatesWith)) {
    if (known.get(name) === null) {
      throw new StatusError(
        StatusCode.INTERNAL,
        `unable to find federated bundle "spiffe://${name}"`,
      );
    }
  }
}

function storedEntry(db: Database, id: string): StoredEntry {
  const entry = db.query<StoredEntry, [string]>(`${SELECT_ENTRIES} WHERE id = ?`).get(id);
  if (entry === null) throw new StatusError(StatusCode.NOT_FOUND, "entry not found");
  return entry;
}

function insertEntry(db: Database, row: EntryRow): number {
  const { lastInsertRowid } = db
    .query(
      `INSERT INTO entries (id, spiffe_id, parent_id, selector_set, x509_svid_ttl, jwt_svid_ttl, admin, downstream,
        store_svid, expires_at, dns_names, hint, created_at, revision_number, disable_x509_svid_prefetch,
        jwt_svid_include_jti)
      VALUES ($id, $spiffeId, $parentId, $selectorSet, $x509SvidTtl, $jwtSvidTtl, $admin, $downstream,
        $storeSvid, $expiresAt, $dnsNames, $hint, $createdAt, $revisionNumber, $disableX509SvidPrefetch,
        $jwtSvidIncludeJti)`,
    )
    .run({ ...row });
  return Number(lastInsertRowid);
}

function updateEntry(db: Database, row: StoredEntry): void {
  db.query(
    `UPDATE entries SET spiffe_id = $spiffeId, parent_id = $parentId, selector_set = $selectorSet,
      x509_svid_ttl = $x509SvidTtl, jwt_svid_ttl = $jwtSvidTtl, admin = $admin, downstream = $downstream,
      store_svid = $storeSvid, expires_at = $expiresAt, dns_names = $dnsNames, hint = $hint,
      revision_number = $revisionNumber, disable_x509_svid_prefetch = $disableX509SvidPrefetch,
      jwt_svid_include_jti = $jwtSvidIncludeJti
    WHERE seq = $seq`,
  ).run({ ...row });
}

/** Fills the tables that the filters look in: single selectors, single trust domains. */
function insertLists(db: Database, seq: number, row: EntryRow): void {
  const selector = db.query("INSERT INTO entry_selectors (selector, owner) VALUES (?, ?)");
  for (const text of parseTextList(row.selectorSet)) selector.run(text, seq);
  const federation = db.query("INSERT INTO entry_federation (trust_domain, owner) VALUES (?, ?)");
  for (const name of parseTextList(row.federatesWith)) federation.run(name, seq);
}
