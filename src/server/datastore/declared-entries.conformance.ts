import { expect, test } from "bun:test";
import { StatusCode } from "#spiffe/status-error.ts";
import type {
  DataStore,
  DataStoreChange,
  DeclaredStep,
  EntryChange,
  ExpectedEntry,
} from "./datastore.ts";
import { ALL, makeEntry, rejection } from "./records.conformance.ts";

/** What a store promises of entries that are declared in sets. */
export function declaredEntryTests(store: () => DataStore): void {
  const create = (id: string): DeclaredStep => ({ kind: "create", entry: makeEntry(id) });
  const asBefore = (id: string, revisionNumber = 0): ExpectedEntry => ({
    id,
    revisionNumber,
    set: "s",
  });
  const update = (expected: ExpectedEntry, change?: EntryChange): DeclaredStep => ({
    kind: "update",
    expected,
    change,
  });
  const idsInStore = async (): Promise<string[]> =>
    (await store().entries.list({}, ALL)).items.map(({ id }) => id);
  const sets = async (): Promise<Record<string, string>> =>
    Object.fromEntries(await store().declaredEntries.sets());

  test("steps create, change, take over and remove, and one announcement tells all", async () => {
    await store().entries.create([makeEntry("hand"), makeEntry("other")]);
    await store().declaredEntries.apply("s", [create("a"), create("b"), create("c")]);
    expect(await sets()).toEqual({ a: "s", b: "s", c: "s" });
    const seen: DataStoreChange["entries"][] = [];
    store().onChange(({ entries }) => seen.push(entries));
    await store().declaredEntries.apply("s", [
      update(asBefore("a"), { hint: "new" }),
      update({ ...asBefore("hand"), set: undefined }),
      { kind: "create", entry: { ...makeEntry("b"), id: "b2" }, replaces: asBefore("b") },
      { kind: "remove", expected: asBefore("c") },
    ]);
    expect(await sets()).toEqual({ a: "s", b2: "s", hand: "s" });
    expect(await idsInStore()).toEqual(["hand", "other", "a", "b2"]);
    expect(await store().entries.find("a")).toEqual({
      ...makeEntry("a"),
      hint: "new",
      revisionNumber: 1,
    });
    expect(await store().entries.find("hand")).toEqual(makeEntry("hand"));
    expect(seen).toHaveLength(1);
    expect(seen[0]?.removed).toEqual(["b", "c"]);
    expect(seen[0]?.stored.map(({ id }) => id)).toEqual(["a", "b2"]);
  });

  test.each<[string, DeclaredStep, StatusCode]>([
    ["an entry that is gone", update(asBefore("none")), StatusCode.ABORTED],
    ["an entry changed since", update(asBefore("a", 1)), StatusCode.ABORTED],
    ["another set's entry", { kind: "remove", expected: asBefore("t") }, StatusCode.ABORTED],
    ["an entry made by hand", { kind: "remove", expected: asBefore("h") }, StatusCode.ABORTED],
    [
      "a similar entry",
      { kind: "create", entry: { ...makeEntry("h"), id: "z" } },
      StatusCode.ABORTED,
    ],
    [
      "an ID in use",
      { kind: "create", entry: { ...makeEntry("z"), id: "h" } },
      StatusCode.ALREADY_EXISTS,
    ],
    ["an unknown bundle", update(asBefore("a"), { federatesWith: ["f.org"] }), StatusCode.INTERNAL],
  ])("%s stops the whole group, and nothing of it is done or announced", async (_, step, code) => {
    await store().entries.create([makeEntry("h")]);
    await store().declaredEntries.apply("t", [create("t")]);
    await store().declaredEntries.apply("s", [create("a")]);
    let announced = 0;
    store().onChange(() => announced++);
    const refused = store().declaredEntries.apply("s", [create("b"), step, create("c")]);
    expect(await rejection(refused)).toMatchObject({ code });
    expect(await idsInStore()).toEqual(["h", "t", "a"]);
    expect(await sets()).toEqual({ t: "t", a: "s" });
    expect(announced).toBe(0);
  });

  test("an entry that somebody changes stays declared; one that is removed is declared no more", async () => {
    await store().declaredEntries.apply("s", [create("a"), create("b")]);
    await store().entries.update("a", { hint: "by hand" });
    await store().entries.delete("b");
    await store().entries.create([makeEntry("b")]);
    expect(await sets()).toEqual({ a: "s" });
  });
}
