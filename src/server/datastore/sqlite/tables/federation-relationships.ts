import type { Database } from "bun:sqlite";
import type {
  FederationRelationshipChange,
  FederationRelationships,
  Listing,
  Page,
} from "#server/datastore/datastore.ts";
import { type BundleRow, bundleRow } from "#server/datastore/sqlite/rows/bundle-row.ts";
import { listRows } from "#server/datastore/sqlite/rows/listing.ts";
import {
  type FederationRelationshipRow,
  relationshipChangeRow,
  relationshipFromRow,
  relationshipRow,
  SELECT_RELATIONSHIPS,
} from "#server/datastore/sqlite/writing/federation-relationship-writes.ts";
import type { Writer } from "#server/datastore/sqlite/writing/writer.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import type { FederationRelationship } from "#spiffe/federation-relationship.ts";

export class SqliteFederationRelationships implements FederationRelationships {
  readonly #reader: Database;
  readonly #writer: Writer;

  constructor(reader: Database, writer: Writer) {
    this.#reader = reader;
    this.#writer = writer;
  }

  async create(relationship: FederationRelationship, bundle: Bundle | undefined): Promise<void> {
    await this.#writer.write("federationRelationships.create", {
      row: relationshipRow(relationship),
      bundle: optionalRow(bundle),
    });
  }

  async find(trustDomain: string): Promise<FederationRelationship | undefined> {
    const row = this.#reader
      .query<FederationRelationshipRow, [string]>(`${SELECT_RELATIONSHIPS} WHERE trust_domain = ?`)
      .get(trustDomain);
    return row === null ? undefined : relationshipFromRow(row);
  }

  async list(page: Page): Promise<Listing<FederationRelationship>> {
    return await listRows(
      this.#reader,
      { table: "federation_relationships", select: SELECT_RELATIONSHIPS },
      [],
      page,
      (row: FederationRelationshipRow & { seq: number }) => relationshipFromRow(row),
    );
  }

  async update(
    trustDomain: string,
    change: FederationRelationshipChange,
    bundle: Bundle | undefined,
  ): Promise<FederationRelationship> {
    const row = await this.#writer.write("federationRelationships.update", {
      trustDomain,
      change: relationshipChangeRow(change),
      bundle: optionalRow(bundle),
    });
    return relationshipFromRow(row);
  }

  async delete(trustDomain: string): Promise<void> {
    await this.#writer.write("federationRelationships.delete", trustDomain);
  }
}

function optionalRow(bundle: Bundle | undefined): BundleRow | undefined {
  return bundle === undefined ? undefined : bundleRow(bundle);
}
