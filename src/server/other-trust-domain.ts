/** A server's data is of one trust domain for good: its CA, its nodes and its entries would be strangers in another. */
import { journalAuthorities } from "#server/ca/authority/journal-authorities.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import type { TrustDomain } from "#spiffe/trust-domain.ts";

const FIRST = { size: 1, token: "" };

/**
 * @param place of the datastore, for the message
 * @throws Error when something in the datastore is of another trust domain, naming both and the way out
 */
export async function refuseOtherTrustDomain(
  trustDomain: TrustDomain,
  store: DataStore,
  place: string,
): Promise<void> {
  for (const [what, id] of await idsIn(store)) {
    const other = SpiffeId.parse(id).trustDomain;
    if (other.equals(trustDomain)) continue;
    throw new Error(
      `datastore ${place} is of trust domain ${JSON.stringify(other.name)} (${what} ${id}), trust_domain is ${JSON.stringify(trustDomain.name)}: set trust_domain to ${JSON.stringify(other.name)}, or give the new trust domain a data_dir and a datastore of its own`,
    );
  }
}

/** One of each kind tells: all are of the same. */
async function idsIn(store: DataStore): Promise<readonly (readonly [string, string])[]> {
  const journal = await store.caJournals.load();
  const authorities = journal === undefined ? [] : await journalAuthorities(journal);
  const nodes = await store.nodes.list({}, FIRST);
  const entries = await store.entries.list({}, FIRST);
  return [
    ...authorities.flatMap(({ trustDomainIds }) =>
      trustDomainIds.filter((id) => id.startsWith("spiffe://")).map((id) => ["CA", id] as const),
    ),
    ...nodes.items.map(({ spiffeId }) => ["node", spiffeId] as const),
    ...entries.items.map(({ spiffeId }) => ["entry", spiffeId.toString()] as const),
  ];
}
