import type { FederationRelationshipChange } from "#server/datastore/datastore.ts";
import type { BundleRow } from "#server/datastore/sqlite/rows/bundle-row.ts";
import {
  type EndpointProfile,
  endpointIdOf,
  type FederationRelationship,
} from "#spiffe/federation-relationship.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { storeBundle } from "./bundle-writes.ts";
import type { WriteContext, WriteFunctions } from "./write-context.ts";

/** A relationship as stored; the endpoint ID is empty for https_web. */
export interface FederationRelationshipRow {
  trustDomain: string;
  bundleEndpointUrl: string;
  bundleEndpointProfile: EndpointProfile["kind"];
  endpointSpiffeId: string;
}

export type FederationRelationshipChangeRow = Partial<
  Omit<FederationRelationshipRow, "trustDomain">
>;

export const SELECT_RELATIONSHIPS: string =
  "SELECT seq, trust_domain AS trustDomain, bundle_endpoint_url AS bundleEndpointUrl, " +
  "bundle_endpoint_profile AS bundleEndpointProfile, endpoint_spiffe_id AS endpointSpiffeId " +
  "FROM federation_relationships";

export function relationshipRow(relationship: FederationRelationship): FederationRelationshipRow {
  return {
    trustDomain: relationship.trustDomain.name,
    bundleEndpointUrl: relationship.bundleEndpointUrl,
    ...profileRow(relationship.profile),
  };
}

export function relationshipChangeRow({
  bundleEndpointUrl,
  profile,
}: FederationRelationshipChange): FederationRelationshipChangeRow {
  return {
    ...(bundleEndpointUrl === undefined ? {} : { bundleEndpointUrl }),
    ...(profile === undefined ? {} : profileRow(profile)),
  };
}

export function relationshipFromRow(row: FederationRelationshipRow): FederationRelationship {
  return {
    trustDomain: TrustDomain.fromName(row.trustDomain),
    bundleEndpointUrl: row.bundleEndpointUrl,
    profile:
      row.bundleEndpointProfile === "https_spiffe"
        ? { kind: "https_spiffe", endpointSpiffeId: SpiffeId.parse(row.endpointSpiffeId) }
        : { kind: "https_web" },
  };
}

function profileRow(
  profile: EndpointProfile,
): Pick<FederationRelationshipRow, "bundleEndpointProfile" | "endpointSpiffeId"> {
  return { bundleEndpointProfile: profile.kind, endpointSpiffeId: endpointIdOf(profile) };
}

interface WithBundle {
  readonly bundle: BundleRow | undefined;
}

export interface FederationRelationshipWriteTypes {
  "federationRelationships.create": {
    argument: WithBundle & { readonly row: FederationRelationshipRow };
    result: undefined;
  };
  "federationRelationships.update": {
    argument: WithBundle & {
      readonly trustDomain: string;
      readonly change: FederationRelationshipChangeRow;
    };
    result: FederationRelationshipRow;
  };
  "federationRelationships.delete": { argument: string; result: undefined };
}

export const federationRelationshipWrites: WriteFunctions<FederationRelationshipWriteTypes> = {
  "federationRelationships.create": (context, { row, bundle }) => {
    if (storedRelationship(context, row.trustDomain) !== null) {
      throw new StatusError(
        StatusCode.ALREADY_EXISTS,
        `a federation relationship with trust domain "${row.trustDomain}" already exists`,
      );
    }
    store(context, row, bundle);
    return undefined;
  },

  "federationRelationships.update": (context, { trustDomain, change, bundle }) => {
    const before = storedRelationship(context, trustDomain);
    if (before === null) throw notFound();
    const after = { ...before, ...change };
    store(context, after, bundle);
    return after;
  },

  "federationRelationships.delete": ({ db, changes }, trustDomain) => {
    const deleted = db
      .query("DELETE FROM federation_relationships WHERE trust_domain = ?")
      .run(trustDomain);
    if (deleted.changes === 0) throw notFound();
    changes.federationRelationships.push(trustDomain);
    return undefined;
  },
};

function storedRelationship(
  { db }: WriteContext,
  trustDomain: string,
): FederationRelationshipRow | null {
  return db
    .query<FederationRelationshipRow, [string]>(`${SELECT_RELATIONSHIPS} WHERE trust_domain = ?`)
    .get(trustDomain);
}

function store(
  context: WriteContext,
  row: FederationRelationshipRow,
  bundle: BundleRow | undefined,
): void {
  const { trustDomain, bundleEndpointUrl, bundleEndpointProfile, endpointSpiffeId } = row;
  context.db
    .query(
      `INSERT INTO federation_relationships
        (trust_domain, bundle_endpoint_url, bundle_endpoint_profile, endpoint_spiffe_id)
        VALUES (?, ?, ?, ?)
        ON CONFLICT (trust_domain) DO UPDATE SET
          bundle_endpoint_url = excluded.bundle_endpoint_url,
          bundle_endpoint_profile = excluded.bundle_endpoint_profile,
          endpoint_spiffe_id = excluded.endpoint_spiffe_id`,
    )
    .run(trustDomain, bundleEndpointUrl, bundleEndpointProfile, endpointSpiffeId);
  context.changes.federationRelationships.push(trustDomain);
  if (bundle !== undefined) storeBundle(context, bundle);
}

function notFound(): StatusError {
  return new StatusError(StatusCode.NOT_FOUND, "federation relationship not found");
}
