import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#clock/clock.ts";
import { systemRandom } from "#clock/random.ts";
import { createLog } from "#log/log.ts";
import { Entry } from "#proto/spire/api/types/entry.ts";
import type { DeclaredEntry } from "#proto/spire_edge/declared/v1/declared.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import { ALL, makeEntry, rejection } from "#server/datastore/records.conformance.ts";
import { openSqliteDataStore } from "#server/datastore/sqlite/open.ts";
import { StatusCode, type StatusError } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { type Declaration, type Made, Reconciler } from "./reconcile.ts";

let directory: string;
let store: DataStore;
let reconciler: Reconciler;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "reconcile-"));
  const log = createLog({ level: "error", format: "text" }, () => 0, { write: () => undefined });
  store = await openSqliteDataStore({ path: join(directory, "store.sqlite3"), log });
  reconciler = new Reconciler({
    trustDomain: TrustDomain.parse("example.org"),
    store,
    clock: systemClock,
    random: systemRandom,
  });
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

const id = (path: string): { trustDomain: string; path: string } => ({
  trustDomain: "example.org",
  path,
});
/** As makeEntry makes it. */
function declare(name: string, change: Partial<Entry> = {}): DeclaredEntry {
  const entry = {
    ...Entry.fromPartial({
      spiffeId: id(`/${name}`),
      parentId: id("/node"),
      selectors: [{ type: "unix", value: "uid:1000" }],
    }),
    ...change,
  };
  return { entry, where: `${name}.yaml:1:1` };
}
const declaration = (
  declared: readonly DeclaredEntry[],
  change: Partial<Declaration> = {},
): Declaration => ({ set: "s", declared, adopt: false, allowRemoval: false, ...change });
const names = (count: number): string[] => Array.from({ length: count }, (_, at) => `e${at}`);
const nothing: Made = () => undefined;
const apply = (declared: readonly DeclaredEntry[], change: Partial<Declaration> = {}) =>
  reconciler.apply(declaration(declared, change), nothing);
const paths = async (): Promise<string[]> =>
  (await store.entries.list({}, ALL)).items.map(({ spiffeId }) => spiffeId.path).sort();

describe("a reconciliation", () => {
  test("creates, changes and removes, leaves the rest alone, and does nothing the next time", async () => {
    await store.entries.create([makeEntry("hand")]);
    await apply([declare("a"), declare("b"), declare("c")]);
    const [b] = (await store.entries.list({ spiffeId: "spiffe://example.org/b" }, ALL)).items;
    const made: string[] = [];
    const next = declaration([declare("a"), declare("b", { hint: "h" }), declare("d")]);
    const plan = await reconciler.apply(next, (changes) => {
      for (const { change, entryId } of changes) {
        made.push(change.kind);
        if (change.kind === "update") expect(entryId).toBe(b?.id ?? "");
      }
    });
    expect(made).toEqual(["update", "create", "remove"]);
    expect(plan).toMatchObject({ unchanged: 1, expired: 0, loss: undefined });
    expect(await paths()).toEqual(["/a", "/b", "/d", "/hand"]);
    expect(await store.entries.find(b?.id ?? "")).toMatchObject({ hint: "h", revisionNumber: 1 });
    expect((await reconciler.apply(next, nothing)).changes).toEqual([]);
  });

  test("keeps sets apart", async () => {
    await apply([declare("a")]);
    await apply([declare("b")], { set: "t" });
    await apply([declare("c")], { set: "t" });
    expect(await paths()).toEqual(["/a", "/c"]);
  });

  test("only planned changes nothing", async () => {
    await apply([declare("a")]);
    const plan = await reconciler.plan(declaration([declare("b")]));
    expect(plan.changes.map(({ kind }) => kind)).toEqual(["create", "remove"]);
    expect(await paths()).toEqual(["/a"]);
  });

  test("takes over what was made by hand when it is told to, under its ID", async () => {
    await store.entries.create([makeEntry("a", { hint: "typed" }), makeEntry("b")]);
    const both = [declare("a"), declare("b")];
    expect(await rejection(apply(both))).toMatchObject({
      code: StatusCode.FAILED_PRECONDITION,
      message: expect.stringContaining("a.yaml:1:1: spiffe://example.org/a is there already"),
    });
    await apply(both, { adopt: true });
    expect(await store.entries.find("a")).toMatchObject({ hint: "", revisionNumber: 1 });
    expect(await store.entries.find("b")).toEqual(makeEntry("b"));
    await apply([declare("a")]);
    expect(await paths()).toEqual(["/a"]);
  });

  test.each<[string, Partial<Entry>, string]>([
    [
      "another trust domain",
      { spiffeId: { trustDomain: "other.org", path: "/a" } },
      "invalid spiffe ID",
    ],
    ["no selectors", { selectors: [] }, "selector list is empty"],
    ["a bad ID", { id: "a/b" }, "entry ID contains invalid characters"],
    [
      "an unknown bundle",
      { federatesWith: ["f.org"] },
      'unable to find federated bundle "spiffe://f.org"',
    ],
    ["a DNS name that is none", { dnsNames: [""] }, "invalid DNS name"],
    [
      "a twin",
      { spiffeId: id("/good") },
      "the same SPIFFE ID, parent ID and selectors are declared at good.yaml:1:1",
    ],
    ["an ID given twice", { id: "x" }, 'entry ID "x" is declared at good.yaml:1:1'],
  ])("with %s is refused as a whole, and says where", async (_, change, problem) => {
    const good = declare("good", change.id === undefined ? {} : { id: "x" });
    const refused = (await rejection(apply([good, declare("bad", change)]))) as StatusError;
    expect(refused.code).toBe(StatusCode.INVALID_ARGUMENT);
    expect(refused.message).toContain("\nbad.yaml:1:1: ");
    expect(refused.message).toContain(problem);
    expect(await paths()).toEqual([]);
  });

  test("tells of as many problems as a caller can take", async () => {
    const wrong = names(500).map((name) => declare(name, { selectors: [] }));
    const { message } = (await rejection(apply(wrong))) as Error;
    expect(message.split("\n")).toHaveLength(22);
    expect(message.split("\n").at(-1)).toBe("and 480 more");
  });

  test("removes what has expired, and does not bring it back", async () => {
    await apply([declare("a"), declare("b")]);
    const expired = declare("b", { expiresAt: 1_700_000_000 });
    expect(await apply([declare("a"), expired])).toMatchObject({ expired: 1, unchanged: 1 });
    expect(await paths()).toEqual(["/a"]);
  });

  test("never lets a set lose everything, or more than half of it, unless it is told to", async () => {
    const all = names(30).map((name) => declare(name));
    await apply(all);
    for (const left of [0, 14]) {
      expect(await rejection(apply(all.slice(0, left)))).toMatchObject({
        code: StatusCode.FAILED_PRECONDITION,
        message: expect.stringContaining(`of 30 entries only ${left} would be left`),
      });
    }
    expect(await paths()).toHaveLength(30);
    await apply(all.slice(0, 15));
    await apply(all.slice(0, 5));
    expect(await paths()).toHaveLength(5);
    await apply([], { allowRemoval: true });
    expect(await paths()).toEqual([]);
  });

  test("that somebody gets in the way of starts over from what is there then", async () => {
    await apply(names(500).map((name) => declare(name)));
    const { items } = await store.entries.list({}, ALL);
    const last = items.at(-1)?.id ?? "";
    let disturbed = false;
    const next = declaration(names(500).map((name) => declare(name, { hint: "new" })));
    const { changes } = await reconciler.apply(next, () => {
      if (disturbed) return;
      disturbed = true;
      void store.entries.update(last, { hint: "by hand" });
    });
    expect(changes).toHaveLength(500);
    const { items: after } = await store.entries.list({}, ALL);
    expect(after.every(({ hint }) => hint === "new")).toBe(true);
    expect(await store.entries.find(last)).toMatchObject({ revisionNumber: 2 });
  });

  test("waits for the one before it", async () => {
    await Promise.all([apply([declare("a")]), apply([declare("b")]), apply([declare("c")])]);
    expect(await paths()).toEqual(["/c"]);
  });
});
