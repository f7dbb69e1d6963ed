import type { Database } from "bun:sqlite";

/** Marks a file as ours in SQLite's header (offset 68): "SPED". Any other database is refused and left alone. */
export const APPLICATION_ID = 0x53504544;

/**
 * The schema, as the steps that lead to it: step N takes version N to N + 1. A step that was released never changes.
 *
 * A selector is stored twice: `selector_set` holds the whole set in its one spelling (sorted JSON), which makes an exact
 * match and the search for a similar entry one index lookup; the table of single selectors serves the other matches.
 * `seq` never comes back after a deletion (AUTOINCREMENT), so a page token stays a place in the order.
 */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE join_tokens (
    token_sha256 BLOB PRIMARY KEY,
    expires_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX join_tokens_expiry ON join_tokens (expires_at);

  CREATE TABLE nodes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    spiffe_id TEXT NOT NULL UNIQUE,
    attestation_type TEXT NOT NULL,
    serial_number TEXT NOT NULL,
    not_after INTEGER NOT NULL,
    new_serial_number TEXT NOT NULL,
    new_not_after INTEGER NOT NULL,
    can_reattest INTEGER NOT NULL,
    agent_version TEXT NOT NULL,
    selector_set TEXT NOT NULL
  ) STRICT;
  CREATE INDEX nodes_attestation_type ON nodes (attestation_type);
  CREATE INDEX nodes_not_after ON nodes (not_after);
  CREATE INDEX nodes_can_reattest ON nodes (can_reattest);
  CREATE INDEX nodes_banned ON nodes (seq) WHERE serial_number = '';
  CREATE INDEX nodes_selector_set ON nodes (selector_set);
  CREATE TABLE node_selectors (
    selector TEXT NOT NULL,
    owner INTEGER NOT NULL REFERENCES nodes (seq) ON DELETE CASCADE,
    PRIMARY KEY (selector, owner)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX node_selectors_owner ON node_selectors (owner);

  CREATE TABLE bundles (
    trust_domain TEXT PRIMARY KEY,
    document TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    spiffe_id TEXT NOT NULL,
    parent_id TEXT NOT NULL,
    selector_set TEXT NOT NULL,
    x509_svid_ttl INTEGER NOT NULL,
    jwt_svid_ttl INTEGER NOT NULL,
    admin INTEGER NOT NULL,
    downstream INTEGER NOT NULL,
    store_svid INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    dns_names TEXT NOT NULL,
    hint TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revision_number INTEGER NOT NULL,
    disable_x509_svid_prefetch INTEGER NOT NULL,
    jwt_svid_include_jti INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX entries_similar ON entries (selector_set, spiffe_id, parent_id);
  CREATE INDEX entries_spiffe_id ON entries (spiffe_id);
  CREATE INDEX entries_parent_id ON entries (parent_id);
  CREATE INDEX entries_hint ON entries (hint) WHERE hint <> '';
  CREATE INDEX entries_downstream ON entries (seq) WHERE downstream = 1;
  CREATE INDEX entries_expiry ON entries (expires_at) WHERE expires_at <> 0;
  CREATE TABLE entry_selectors (
    selector TEXT NOT NULL,
    owner INTEGER NOT NULL REFERENCES entries (seq) ON DELETE CASCADE,
    PRIMARY KEY (selector, owner)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX entry_selectors_owner ON entry_selectors (owner);
  CREATE TABLE entry_federation (
    trust_domain TEXT NOT NULL REFERENCES bundles (trust_domain),
    owner INTEGER NOT NULL REFERENCES entries (seq) ON DELETE CASCADE,
    PRIMARY KEY (trust_domain, owner)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX entry_federation_owner ON entry_federation (owner);

  CREATE TABLE ca_journal (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    record BLOB NOT NULL
  ) STRICT;
  `,

  // A used token is remembered for a while, with the key it let in: that key may ask again when the answer was lost.
  `
  ALTER TABLE join_tokens ADD COLUMN used_at INTEGER;
  ALTER TABLE join_tokens ADD COLUMN public_key_sha256 BLOB;
  CREATE INDEX join_tokens_used ON join_tokens (used_at) WHERE used_at IS NOT NULL;
  `,

  `
  CREATE TABLE federation_relationships (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    trust_domain TEXT NOT NULL UNIQUE,
    bundle_endpoint_url TEXT NOT NULL,
    bundle_endpoint_profile TEXT NOT NULL,
    endpoint_spiffe_id TEXT NOT NULL
  ) STRICT;
  `,

  // A token may let a known node in again.
  `
  ALTER TABLE join_tokens ADD COLUMN rejoins TEXT;
  CREATE INDEX join_tokens_rejoins ON join_tokens (rejoins) WHERE rejoins IS NOT NULL;
  `,

  // Keys for WIT-SVIDs. A program that does not know them would drop them with its next change of a bundle.
  `
  UPDATE bundles SET document = json_set(document, '$.witAuthorities', json('[]'));
  `,

  // Which entries are declared, and in which set; the others were made by hand.
  `
  CREATE TABLE declared_entries (
    owner INTEGER PRIMARY KEY REFERENCES entries (seq) ON DELETE CASCADE,
    set_name TEXT NOT NULL
  ) STRICT;
  `,
];

export const SCHEMA_VERSION: number = MIGRATIONS.length;

/** The schema version of an open database; 0 for an empty one. */
export function schemaVersion(db: Database): number {
  return db.query<{ user_version: number }, []>("PRAGMA user_version").get()?.user_version ?? 0;
}

/**
 * Brings the schema to a version, by default this program's, in one transaction: a crash leaves the old schema or the new one.
 */
export function migrate(db: Database, version: number = SCHEMA_VERSION): void {
  const from = schemaVersion(db);
  if (from === version) return;
  db.transaction(() => {
    for (const step of MIGRATIONS.slice(from, version)) db.run(step);
    db.run(`PRAGMA application_id = ${APPLICATION_ID}`);
    db.run(`PRAGMA user_version = ${version}`);
  }).immediate();
}
