/** Changes of entries and nodes for tests: made by hand, or any there may be. */
import fc from "fast-check";
import type { AttestedNode, DataStoreChange } from "#server/datastore/datastore.ts";
import { makeEntry, makeNode } from "#server/datastore/records.conformance.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";

export const id = (path: string): SpiffeId => SpiffeId.parse(`spiffe://example.org${path}`);

/** The IDs in the changes that `anyChange` makes; two of them are agents. */
export const PATHS: readonly string[] = [
  "/spire/server",
  "/spire/agent/a",
  "/spire/agent/b",
  "/x",
  "/y",
  "/z",
];

export function change(given: {
  entries?: readonly RegistrationEntry[];
  nodes?: readonly AttestedNode[];
  removedEntries?: readonly string[];
  removedNodes?: readonly string[];
}): DataStoreChange {
  return {
    entries: { stored: given.entries ?? [], removed: given.removedEntries ?? [] },
    nodes: { stored: given.nodes ?? [], removed: given.removedNodes ?? [] },
    bundles: [],
    federationRelationships: [],
  };
}

const path = fc.constantFrom(...PATHS).map(id);
const selectors = fc.subarray(["1", "2", "3"].map((value) => ({ type: "t", value })));
const entry = fc
  .record({ name: fc.nat(7), spiffeId: path, parentId: path, selectors })
  .map(({ name, ...given }) => makeEntry(`e${name}`, given));
const node = fc
  .record({ name: fc.constantFrom("a", "b"), selectors })
  .map(({ name, selectors }) => makeNode(name, { selectors }));

/** One change among few IDs, so that a history of them has chains, circles and aliases. */
export const anyChange: fc.Arbitrary<DataStoreChange> = fc.oneof(
  { weight: 5, arbitrary: entry.map((stored) => change({ entries: [stored] })) },
  { weight: 2, arbitrary: fc.nat(7).map((n) => change({ removedEntries: [`e${n}`] })) },
  { weight: 2, arbitrary: node.map((stored) => change({ nodes: [stored] })) },
  { weight: 1, arbitrary: node.map(({ spiffeId }) => change({ removedNodes: [spiffeId] })) },
);
