import { expect, test } from "bun:test";
import fc from "fast-check";
import { emptyBundle } from "#spiffe/bundle.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { type MatchBehavior, selectorKey, selectorsMatch } from "#spiffe/selector.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import type { DataStore, EntryFilter } from "./datastore.ts";
import { ALL, makeEntry, rejection } from "./records.conformance.ts";

export function entryTests(store: () => DataStore): void {
  const federated = { trustDomain: "other.org", certificate: Uint8Array.of(1) };

  test("every field comes back, with selectors and trust domains sorted and unique", async () => {
    await store().bundles.set(emptyBundle(TrustDomain.parse(federated.trustDomain)));
    const entry = makeEntry("full", {
      selectors: [
        { type: "unix", value: "path:/bin/a:b" },
        { type: "docker", value: "ünï\u0000\"'%" },
        { type: "unix", value: "path:/bin/a:b" },
      ],
      federatesWith: ["other.org", "other.org"],
      x509SvidTtl: 1,
      jwtSvidTtl: 2,
      admin: true,
      downstream: true,
      storeSvid: true,
      expiresAt: 2 ** 40,
      dnsNames: ["b", "a"],
      hint: "h",
      revisionNumber: 7,
      disableX509SvidPrefetch: true,
      jwtSvidIncludeJti: true,
    });
    const [created] = await store().entries.create([entry]);
    const stored = {
      ...entry,
      selectors: [entry.selectors[1], entry.selectors[0]],
      federatesWith: ["other.org"],
    };
    expect(created).toEqual({ entry: stored as RegistrationEntry, created: true });
    expect(await store().entries.find("full")).toEqual(stored as RegistrationEntry);
  });

  test("an entry is refused by itself; its neighbours are created", async () => {
    const results = await store().entries.create([
      makeEntry("a"),
      makeEntry("b", { federatesWith: ["unknown.org"] }),
      makeEntry("a", { spiffeId: SpiffeId.parse("spiffe://example.org/else") }),
      makeEntry("again", { spiffeId: makeEntry("a").spiffeId }),
      makeEntry("c"),
    ]);
    expect(results).toMatchObject([
      { created: true },
      {
        code: StatusCode.INTERNAL,
        message: 'unable to find federated bundle "spiffe://unknown.org"',
      },
      { code: StatusCode.ALREADY_EXISTS },
      { created: false, entry: { id: "a" } },
      { created: true },
    ]);
    expect(await store().entries.count({})).toBe(2);
  });

  test("a subset or superset of an entry's selectors is another entry", async () => {
    const one = { type: "a", value: "1" };
    const two = { type: "a", value: "2" };
    const { spiffeId } = makeEntry("x");
    const results = await store().entries.create([
      makeEntry("both", { spiffeId, selectors: [one, two] }),
      makeEntry("one", { spiffeId, selectors: [one] }),
      makeEntry("turned", { spiffeId, selectors: [two, one] }),
    ]);
    expect(results).toMatchObject([{ created: true }, { created: true }, { created: false }]);
  });

  test("update replaces what it names, counts up, and is found under the new values only", async () => {
    await store().entries.create([makeEntry("a", { dnsNames: ["kept"] })]);
    const selectors = [{ type: "unix", value: "gid:5" }];
    const after = await store().entries.update("a", { selectors, hint: "new" });
    expect(after).toEqual(
      makeEntry("a", { dnsNames: ["kept"], selectors, hint: "new", revisionNumber: 1 }),
    );
    expect(await store().entries.find("a")).toEqual(after);
    const any = (value: string): EntryFilter => ({
      selectors: { selectors: [{ type: "unix", value }], match: "any" },
    });
    expect(await store().entries.count(any("gid:5"))).toBe(1);
    expect(await store().entries.count(any("uid:1000"))).toBe(0);
    expect(
      await rejection(
        store().entries.update("a", { federatesWith: ["unknown.org"], hint: "lost" }),
      ),
    ).toMatchObject({ code: StatusCode.INTERNAL });
    expect(await store().entries.find("a")).toEqual(after);
  });

  test("what is not there is undefined to find and NOT_FOUND to update and delete", async () => {
    expect(await store().entries.find("no")).toBeUndefined();
    for (const missing of [
      () => store().entries.update("no", {}),
      () => store().entries.delete("no"),
    ]) {
      expect(await rejection(missing())).toMatchObject({
        code: StatusCode.NOT_FOUND,
        message: "entry not found",
      });
    }
  });

  test("pruning returns what expired before the moment; 0 never expires", async () => {
    const ids = [0, 9, 10].map((expiresAt) => makeEntry(`e${expiresAt}`, { expiresAt }));
    await store().entries.create(ids);
    expect((await store().entries.prune(10)).map(({ id }) => id)).toEqual(["e9"]);
    expect(await store().entries.count({})).toBe(2);
  });
}

export function listingTests(store: () => DataStore): void {
  test("pages neither repeat nor lose an entry while others come and go", async () => {
    await store().entries.create(Array.from({ length: 9 }, (_, i) => makeEntry(`e${i}`)));
    const seen: string[] = [];
    let token = "";
    do {
      const page = await store().entries.list({}, { size: 2, token });
      expect(page.items.length).toBeLessThanOrEqual(2);
      seen.push(...page.items.map(({ id }) => id));
      token = page.nextToken;
      if (seen.length === 4) {
        await store().entries.delete("e3");
        await store().entries.delete("e0");
        await store().entries.create([makeEntry("late")]);
      }
    } while (token !== "");
    expect(seen).toEqual(["e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8", "late"]);
  });

  test("a page that ends with the last entry has no next token", async () => {
    await store().entries.create([makeEntry("a"), makeEntry("b")]);
    expect((await store().entries.list({}, { size: 2, token: "" })).nextToken).toBe("");
  });

  test("a token that is none and an empty set of selectors are INVALID_ARGUMENT", async () => {
    const selectors = { selectors: [], match: "any" } as const;
    for (const bad of [
      () => store().entries.list({}, { size: 1, token: "1 OR 1" }),
      () => store().entries.list({ selectors }, ALL),
      () => store().nodes.list({ selectors }, ALL),
    ]) {
      expect(await rejection(bad())).toMatchObject({ code: StatusCode.INVALID_ARGUMENT });
    }
  });

  test("filters find what a plain search over all entries finds", async () => {
    const domains = ["a.org", "b.org", "c.org"];
    for (const name of domains) await store().bundles.set(emptyBundle(TrustDomain.parse(name)));
    const texts = fc.constantFrom("1", "2", "3");
    const selectors = fc.uniqueArray(
      texts.map((value) => ({ type: "t", value })),
      { minLength: 1, selector: selectorKey },
    );
    const federatesWith = fc.subarray(domains);
    const id = fc.constantFrom("x", "y").map((name) => SpiffeId.parse(`spiffe://a.org/${name}`));
    const given = fc.record({
      spiffeId: id,
      parentId: id,
      selectors,
      federatesWith,
      hint: fc.constantFrom("", "h"),
      downstream: fc.boolean(),
    });
    const entries = fc.sample(given, { numRuns: 60, seed: 4 });
    await store().entries.create(entries.map((entry, index) => makeEntry(`e${index}`, entry)));
    const stored = (await store().entries.list({}, ALL)).items;
    const match = fc.constantFrom<MatchBehavior>("exact", "subset", "superset", "any");
    const filter: fc.Arbitrary<EntryFilter> = fc.record(
      {
        spiffeId: id.map(String),
        parentId: id.map(String),
        hint: fc.constantFrom("", "h"),
        downstream: fc.boolean(),
        selectors: fc.record({ selectors, match }),
        federatesWith: fc.record({ trustDomains: federatesWith, match }),
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(filter, fc.integer({ min: 0, max: 7 }), async (wanted, size) => {
        const expected = stored.filter((entry) => matches(entry, wanted)).map((entry) => entry.id);
        const found: string[] = [];
        let token = "";
        do {
          const page = await store().entries.list(wanted, { size, token });
          found.push(...page.items.map((entry) => entry.id));
          token = page.nextToken;
        } while (token !== "");
        expect(found).toEqual(expected);
        expect(await store().entries.count(wanted)).toBe(expected.length);
      }),
      { numRuns: 300 },
    );
  });
}

/** The filter in its plainest form. */
function matches(entry: RegistrationEntry, filter: EntryFilter): boolean {
  const { selectors, federatesWith } = filter;
  const keys = (list: readonly { type: string; value: string }[]): Set<string> =>
    new Set(list.map(selectorKey));
  return (
    (!filter.spiffeId || entry.spiffeId.toString() === filter.spiffeId) &&
    (!filter.parentId || entry.parentId.toString() === filter.parentId) &&
    (!filter.hint || entry.hint === filter.hint) &&
    (!filter.downstream || entry.downstream) &&
    (!selectors ||
      selectorsMatch(keys(entry.selectors), keys(selectors.selectors), selectors.match)) &&
    (!federatesWith?.trustDomains.length ||
      (entry.federatesWith.length > 0 &&
        selectorsMatch(
          new Set(entry.federatesWith),
          new Set(federatesWith.trustDomains),
          federatesWith.match,
        )))
  );
}
