import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { AttestedNode } from "#server/datastore/datastore.ts";
import { makeEntry, makeNode } from "#server/datastore/records.conformance.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { type Selector, selectorKey } from "#spiffe/selector.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { AuthorizedEntries } from "./authorized-entries.ts";
import { anyChange, change, id, PATHS } from "./history.fixture.ts";

const trustDomain = TrustDomain.parse("example.org");
const SERVER = id("/spire/server");
const agentId = makeNode("a").spiffeId;

const ids = (entries: readonly RegistrationEntry[]): string[] =>
  entries.map((entry) => entry.id).sort();

function indexOf(entries: readonly RegistrationEntry[], nodes: readonly AttestedNode[] = []) {
  const index = new AuthorizedEntries(trustDomain);
  index.apply(change({ entries, nodes }));
  return index;
}

describe("an agent is authorized for", () => {
  const parentId = SpiffeId.parse(agentId);

  test("the entries below it, those below them, and nobody else's", () => {
    const index = indexOf([
      makeEntry("child", { parentId, spiffeId: id("/child") }),
      makeEntry("grandchild", { parentId: id("/child"), spiffeId: id("/grandchild") }),
      makeEntry("other", { parentId: id("/spire/agent/b") }),
    ]);
    expect(ids(index.of(agentId))).toEqual(["child", "grandchild"]);
  });

  test("the entries below an alias whose selectors it all has, but not the alias", () => {
    const selectors: Selector[] = [
      { type: "x509pop", value: "ca:1" },
      { type: "x509pop", value: "cn:a" },
    ];
    const alias = (name: string, asked: Selector[]): RegistrationEntry =>
      makeEntry(name, { parentId: SERVER, spiffeId: id(`/${name}`), selectors: asked });
    const index = indexOf(
      [
        alias("all", selectors),
        alias("one", selectors.slice(1)),
        alias("more", [...selectors, { type: "x509pop", value: "cn:b" }]),
        alias("none", []),
        ...["all", "one", "more", "none"].map((name) =>
          makeEntry(`below-${name}`, { parentId: id(`/${name}`) }),
        ),
      ],
      [makeNode("a", { selectors })],
    );
    expect(ids(index.of(agentId))).toEqual(["below-all", "below-one"]);
    expect(index.of(makeNode("unknown").spiffeId)).toEqual([]);
  });

  test("each entry once, also when entries lead in a circle", () => {
    const index = indexOf([
      makeEntry("in", { parentId, spiffeId: id("/x") }),
      makeEntry("around", { parentId: id("/x"), spiffeId: id("/y") }),
      makeEntry("back", { parentId: id("/y"), spiffeId: id("/x") }),
    ]);
    expect(ids(index.of(agentId))).toEqual(["around", "back", "in"]);
  });

  test("no entry that reaches into another trust domain", () => {
    const elsewhere = SpiffeId.parse("spiffe://other.org/x");
    const index = indexOf([
      makeEntry("id", { parentId, spiffeId: elsewhere }),
      makeEntry("parent", { parentId: elsewhere }),
    ]);
    expect(index.of(agentId)).toEqual([]);
    expect(index.of(elsewhere.toString())).toEqual([]);
  });
});

test("after any history of changes the index answers as one that is made anew by plain search", () => {
  fc.assert(
    fc.property(fc.array(anyChange, { maxLength: 40 }), (history) => {
      const index = new AuthorizedEntries(trustDomain);
      const entries = new Map<string, RegistrationEntry>();
      const nodes = new Map<string, AttestedNode>();
      for (const one of history) {
        index.apply(one);
        for (const removed of one.entries.removed) entries.delete(removed);
        for (const stored of one.entries.stored) entries.set(stored.id, stored);
        for (const removed of one.nodes.removed) nodes.delete(removed);
        for (const stored of one.nodes.stored) nodes.set(stored.spiffeId, stored);
      }
      for (const agent of PATHS.map((text) => id(text).toString())) {
        expect(ids(index.of(agent))).toEqual(
          plainSearch(agent, [...entries.values()], [...nodes.values()]),
        );
      }
    }),
    { numRuns: 500 },
  );
});

/** The rule written down as a fixed point: reach grows until nothing new is reached. */
function plainSearch(
  agent: string,
  entries: readonly RegistrationEntry[],
  nodes: readonly AttestedNode[],
): string[] {
  const reached = new Set([agent]);
  const isAlias = (entry: RegistrationEntry): boolean => entry.parentId.equals(SERVER);
  const matching = (entry: RegistrationEntry): boolean =>
    nodes.some(
      (node) =>
        node.spiffeId === agent &&
        entry.selectors.length > 0 &&
        entry.selectors.every((asked) =>
          node.selectors.some((held) => selectorKey(held) === selectorKey(asked)),
        ),
    );
  for (let before = 0; before !== reached.size; ) {
    before = reached.size;
    for (const entry of entries) {
      const leads = isAlias(entry) ? matching(entry) : reached.has(entry.parentId.toString());
      if (leads) reached.add(entry.spiffeId.toString());
    }
  }
  return entries
    .filter((entry) => !isAlias(entry) && reached.has(entry.parentId.toString()))
    .map((entry) => entry.id)
    .sort();
}
