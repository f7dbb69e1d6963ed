import { beforeEach, describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { DataStoreChange } from "#server/datastore/datastore.ts";
import { makeEntry, makeNode } from "#server/datastore/records.conformance.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { AuthorizedEntries } from "./authorized-entries.ts";
import { anyChange, change, id, PATHS } from "./history.fixture.ts";
import { type Touched, TouchedAgents } from "./touched-agents.ts";

const trustDomain = TrustDomain.parse("example.org");
const agent = (name: string): string => makeNode(name).spiffeId;

/** What an agent hears: the IDs that are named to it, or that everything changed. */
function heard(
  { entries, everything }: Touched,
  agentId: string,
): readonly string[] | "everything" {
  if (everything.has(agentId)) return "everything";
  return [...entries].flatMap(([agents, ids]) => (agents.has(agentId) ? ids : []));
}

describe("of a change hears", () => {
  const below = (parent: string, given: Partial<RegistrationEntry> = {}): RegistrationEntry =>
    makeEntry("e", { parentId: SpiffeId.parse(parent), ...given });
  const alias = (given: Partial<RegistrationEntry> = {}): RegistrationEntry =>
    makeEntry("alias", {
      parentId: id("/spire/server"),
      spiffeId: id("/group"),
      selectors: makeNode("a").selectors,
      ...given,
    });
  const viaAlias = makeEntry("via-alias", { parentId: id("/group"), spiffeId: id("/led") });
  let index: AuthorizedEntries;
  beforeEach(() => {
    index = new AuthorizedEntries(trustDomain);
    index.apply(change({ nodes: [makeNode("a"), makeNode("b")] }));
  });

  const after = (...changes: DataStoreChange[]) => {
    const touched = new TouchedAgents(index);
    for (const one of changes) touched.apply(one);
    return { a: heard(touched, agent("a")), b: heard(touched, agent("b")) };
  };

  test("who has the entry as a child, and nobody else", () => {
    const stored = change({ entries: [below(agent("a"))] });
    expect(after(stored)).toEqual({ a: ["e"], b: [] });
    expect(after(stored)).toEqual({ a: ["e"], b: [] });
    expect(after(change({ removedEntries: ["e"] }))).toEqual({ a: ["e"], b: [] });
    expect(after(change({ removedEntries: ["e"] }))).toEqual({ a: [], b: [] });
  });

  test("who has it by an alias, or by another entry", () => {
    index.apply(change({ entries: [alias(), viaAlias] }));
    const entries = [makeEntry("one", { parentId: id("/group") }), below(id("/led").toString())];
    expect(after(change({ entries }))).toEqual({ a: ["one", "e"], b: [] });
  });

  test("who has all selectors of the alias, and nobody who has one of them", () => {
    const one = { type: "t", value: "1" };
    const two = { type: "t", value: "2" };
    index.apply(
      change({
        nodes: [
          makeNode("a", { selectors: [one, two] }),
          makeNode("b", { selectors: [one] }),
          makeNode("c", { selectors: [two] }),
        ],
        entries: [alias({ selectors: [one, two] })],
      }),
    );
    expect(after(change({ entries: [viaAlias] }))).toEqual({ a: ["via-alias"], b: [] });
  });

  test("of a move both, who loses the entry and who gets it", () => {
    index.apply(change({ entries: [below(agent("a"))] }));
    expect(after(change({ entries: [below(agent("b"))] }))).toEqual({ a: ["e"], b: ["e"] });
    const toAlias = alias({ id: "e", selectors: makeNode("a").selectors });
    expect(after(change({ entries: [toAlias] }))).toEqual({ a: [], b: ["e"] });
    const elsewhere = SpiffeId.parse("spiffe://other.org/x");
    index.apply(change({ entries: [below(agent("b"))] }));
    expect(after(change({ entries: [below(elsewhere.toString())] }))).toEqual({ a: [], b: ["e"] });
  });

  test("that everything changed, when others are below the entry and it moves", () => {
    const child = makeEntry("child", { parentId: id("/e") });
    index.apply(change({ entries: [below(agent("a")), child] }));
    expect(after(change({ entries: [below(agent("a"), { hint: "h" })] }))).toEqual({
      a: ["e"],
      b: [],
    });
    const moved = below(agent("b"));
    expect(after(change({ entries: [moved] }))).toEqual({ a: "everything", b: "everything" });
    expect(after(change({ removedEntries: ["e"] }))).toEqual({ a: [], b: "everything" });
    expect(after(change({ entries: [moved] }))).toEqual({ a: [], b: "everything" });
  });

  test("that everything changed, when an alias with entries below changes its selectors or goes", () => {
    expect(after(change({ entries: [alias()] }))).toEqual({ a: [], b: [] });
    index.apply(change({ entries: [viaAlias] }));
    expect(after(change({ entries: [alias({ hint: "h" })] }))).toEqual({ a: [], b: [] });
    const forB = alias({ selectors: makeNode("b").selectors });
    expect(after(change({ entries: [forB] }))).toEqual({ a: "everything", b: "everything" });
    expect(after(change({ removedEntries: ["alias"] }))).toEqual({ a: [], b: "everything" });
  });

  test("that everything changed, the node with other selectors, but not one whose SVID is renewed", () => {
    const renewed = makeNode("a", { serialNumber: "5678" });
    expect(after(change({ nodes: [renewed] }))).toEqual({ a: [], b: [] });
    const other = makeNode("a", { selectors: makeNode("b").selectors });
    expect(after(change({ nodes: [other] }))).toEqual({ a: "everything", b: [] });
    expect(after(change({ removedNodes: [agent("b")] }))).toEqual({ a: [], b: "everything" });
  });

  test("what came before and after in the same turn", () => {
    const later = makeEntry("later", { parentId: id("/e") });
    expect(
      after(
        change({ entries: [below(agent("a"))] }),
        change({ entries: [later] }),
        change({ entries: [makeEntry("last", { parentId: id("/e") })] }),
      ),
    ).toEqual({ a: ["e", "later", "last"], b: [] });
  });
});

test("an agent that does as it is told has what it is authorized for, after any history of changes", () => {
  const turn = fc.array(anyChange, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(turn, { maxLength: 15 }), (history) => {
      const index = new AuthorizedEntries(trustDomain);
      const agents = PATHS.map((path) => id(path).toString());
      const views = new Map(agents.map((one) => [one, new Map<string, RegistrationEntry>()]));
      for (const changes of history) {
        const touched = new TouchedAgents(index);
        for (const one of changes) touched.apply(one);
        for (const [agentId, view] of views) {
          obey(view, heard(touched, agentId), index, agentId);
          expect(new Set(view.values())).toEqual(new Set(index.of(agentId)));
        }
      }
    }),
    { numRuns: 1000 },
  );
});

function obey(
  view: Map<string, RegistrationEntry>,
  told: readonly string[] | "everything",
  index: AuthorizedEntries,
  agentId: string,
): void {
  if (told === "everything") {
    view.clear();
    for (const entry of index.of(agentId)) view.set(entry.id, entry);
    return;
  }
  for (const entryId of told) {
    const entry = index.authorized(agentId, entryId);
    if (entry === undefined) view.delete(entryId);
    else view.set(entryId, entry);
  }
}
