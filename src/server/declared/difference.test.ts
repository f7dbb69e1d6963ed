import { describe, expect, test } from "bun:test";
import { makeEntry } from "#server/datastore/records.conformance.ts";
import type { EntryFields } from "#server/message/convert-entry.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { type CheckedEntry, placeOf } from "./check-entries.ts";
import { type Change, type Difference, findDifference, type KnownEntry } from "./difference.ts";

const selectors = (...values: string[]): Pick<EntryFields, "selectors"> => ({
  selectors: values.map((value) => ({ type: "unix", value })),
});
/** What the entry `name` declares; where it stands in the files is its name again. */
function declare(name: string, change: Partial<EntryFields> = {}, id = ""): CheckedEntry {
  const { id: _id, createdAt: _at, revisionNumber: _number, ...made } = makeEntry(name);
  const fields = { ...made, ...change };
  return { id, fields, place: placeOf(fields), where: name };
}
const own = (id: string, change: Partial<EntryFields> = {}): KnownEntry => ({
  entry: makeEntry(id, change),
  set: "s",
});
const byHand = (id: string, change: Partial<EntryFields> = {}): KnownEntry => ({
  entry: makeEntry(id, change),
  set: undefined,
});
const spiffeId = (name: string): Pick<EntryFields, "spiffeId"> => ({
  spiffeId: SpiffeId.parse(`spiffe://example.org/${name}`),
});

function difference(
  known: readonly KnownEntry[],
  declared: readonly CheckedEntry[],
  adopt = false,
): Promise<Difference> {
  return findDifference({ set: "s", known, declared, adopt });
}

/** Each change in a few words: `update a hint`, `create b`, `create c for c1`, `remove d`. */
async function words(...input: Parameters<typeof difference>): Promise<string[]> {
  const { changes, conflicts } = await difference(...input);
  expect(conflicts).toEqual([]);
  return changes.map(wordsOf);
}

function wordsOf(change: Change): string {
  switch (change.kind) {
    case "create":
      return `create ${change.declared.where}${change.replaces === undefined ? "" : ` for ${change.replaces.entry.id}`}`;
    case "remove":
      return `remove ${change.before.entry.id}`;
    default:
      return [change.kind, change.before.entry.id, ...change.fields].join(" ");
  }
}

describe("the difference between a set and its declaration", () => {
  test("is nothing where all is as declared, whatever others made", async () => {
    const known = [own("a"), own("b", { federatesWith: ["x.org", "y.org"] }), byHand("c")];
    const declared = [declare("a"), declare("b", { federatesWith: ["y.org", "x.org", "y.org"] })];
    expect(await difference(known, declared)).toEqual({
      changes: [],
      unchanged: 2,
      owned: 2,
      conflicts: [],
    });
  });

  test("updates come first, then what is new, then what is declared no more", async () => {
    const known = [own("old"), own("a"), byHand("c")];
    expect(await words(known, [declare("new"), declare("a", { hint: "h", admin: true })])).toEqual([
      "update a admin hint",
      "create new",
      "remove old",
    ]);
  });

  test("the order of DNS names counts: the first one is the common name", async () => {
    const known = [own("a", { dnsNames: ["x", "y"] })];
    expect(await words(known, [declare("a", { dnsNames: ["y", "x"] })])).toEqual([
      "update a dnsNames",
    ]);
  });

  test("an entry whose selectors or parent change is still that entry", async () => {
    expect(await words([own("a")], [declare("a", selectors("uid:2"))])).toEqual([
      "update a selectors",
    ]);
    const parentId = SpiffeId.parse("spiffe://example.org/other");
    expect(await words([own("a")], [declare("a", { parentId })])).toEqual(["update a parentId"]);
  });

  test("of several with the same SPIFFE ID, which became which is not guessed", async () => {
    const known = [own("a"), own("a2", { ...spiffeId("a"), ...selectors("uid:2") })];
    expect(await words(known, [declare("a", selectors("uid:3"))])).toEqual([
      "create a",
      "remove a",
      "remove a2",
    ]);
  });

  test("an entry with an ID is known by it, whatever else changes", async () => {
    const declared = declare("b", selectors("uid:9"), "a");
    expect(await words([own("a")], [declared])).toEqual(["update a spiffeId selectors"]);
  });

  test("another ID means another entry, which takes the place of the one before in one step", async () => {
    expect(await words([own("a1", spiffeId("a"))], [declare("a", {}, "a2")])).toEqual([
      "create a for a1",
    ]);
  });

  test("an entry that moves away by its ID makes room for another one", async () => {
    const known = [own("x", spiffeId("a"))];
    const declared = [declare("a", {}, "y"), declare("b", {}, "x")];
    expect(await words(known, declared)).toEqual(["update x spiffeId", "create a"]);
  });

  test("an entry made by hand that is declared is in the way, unless it is to be taken over", async () => {
    const known = [byHand("a", { hint: "h" }), byHand("b"), { ...own("c"), set: "t" }];
    const declared = [declare("a"), declare("b"), declare("c"), declare("d", {}, "a")];
    const { changes, conflicts } = await difference(known, declared.slice(0, 3));
    expect(changes).toEqual([]);
    expect(conflicts).toEqual([
      "a: spiffe://example.org/a is there already, made by hand (entry ID a): take it over by -adopt, or delete it",
      "b: spiffe://example.org/b is there already, made by hand (entry ID b): take it over by -adopt, or delete it",
      'c: spiffe://example.org/c is there already, declared in the set "t" (entry ID c): take it over by -adopt, or delete it',
    ]);
    expect(await words(known, declared.slice(0, 3), true)).toEqual([
      "adopt a hint",
      "adopt b",
      "adopt c",
    ]);
    expect(await words(known, declared.slice(3), true)).toEqual(["adopt a spiffeId hint"]);
  });

  test("an entry in the same place under another ID than the declared one cannot be taken over", async () => {
    const { conflicts } = await difference([byHand("a")], [declare("a", {}, "mine")], true);
    expect(conflicts).toEqual([
      expect.stringContaining("which has another entry ID: declare that one, or delete it"),
    ]);
  });

  test("what somebody made just like an entry of the set is left alone", async () => {
    const known = [own("a"), byHand("mine", spiffeId("a"))];
    expect(await words(known, [declare("a")])).toEqual([]);
    expect(await words(known, [declare("a", {}, "a")])).toEqual([]);
    expect(await words(known, [])).toEqual(["remove a"]);
  });

  test("ten thousand entries let others run in between", async () => {
    const known = Array.from({ length: 10_000 }, (_, number) => own(`e${number}`));
    let turns = 0;
    const count = (): void => {
      turns++;
      if (turns < 1000) setImmediate(count);
    };
    setImmediate(count);
    await difference(
      known,
      known.map(({ entry }) => declare(entry.id)),
    );
    const counted = turns;
    turns = 1000;
    expect(counted).toBeGreaterThan(50);
  });
});
