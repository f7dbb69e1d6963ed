/**
 * What every DataStore has to do, as tests. An adapter's test calls `describeDataStore` with a way to open an empty store.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { emptyBundle } from "#spiffe/bundle.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import type { DataStore, DataStoreChange } from "./datastore.ts";
import { declaredEntryTests } from "./declared-entries.conformance.ts";
import { entryTests, listingTests } from "./entries.conformance.ts";
import { federationRelationshipTests } from "./federation-relationships.conformance.ts";
import { joinTokenTests } from "./join-tokens.conformance.ts";
import { nodeTests } from "./nodes.conformance.ts";
import { makeEntry, makeNode, rejection } from "./records.conformance.ts";

export function describeDataStore(name: string, open: () => Promise<DataStore>): void {
  describe(`${name} keeps the DataStore's promises`, () => {
    let store: DataStore;
    const current = (): DataStore => store;
    beforeEach(async () => {
      store = await open();
    });
    afterEach(async () => {
      await store.close();
    });

    describe("join tokens", () => joinTokenTests(current));
    describe("nodes", () => nodeTests(current));
    describe("entries", () => entryTests(current));
    describe("listing entries", () => listingTests(current));
    describe("declared entries", () => declaredEntryTests(current));
    describe("bundles", () => bundleTests(current));
    describe("federation relationships", () => federationRelationshipTests(current));
    describe("changes", () => changeTests(current));

    test("the CA journal is absent at first, then what was saved last", async () => {
      expect(await store.caJournals.load()).toBeUndefined();
      await store.caJournals.save(Uint8Array.of(1, 2));
      await store.caJournals.save(Uint8Array.of(0, 255));
      expect(await store.caJournals.load()).toEqual(Uint8Array.of(0, 255));
    });
  });
}

function bundleTests(store: () => DataStore): void {
  const trustDomain = TrustDomain.parse("other.org");
  const authority = (byte: number): { certificate: Uint8Array; tainted: boolean } => ({
    certificate: Uint8Array.of(byte),
    tainted: false,
  });
  const key = { keyId: "k", publicKey: Uint8Array.of(9), expiresAt: 5, tainted: true };

  test("append adds what is missing, counts up only then, and leaves taints", async () => {
    const tainted = { ...authority(1), tainted: true };
    const bundle = { ...emptyBundle(trustDomain), x509Authorities: [tainted], refreshHint: 60 };
    expect(await store().bundles.append(bundle)).toEqual(bundle);
    expect(
      await store().bundles.append({
        ...emptyBundle(trustDomain),
        x509Authorities: [authority(1), authority(2)],
        jwtAuthorities: [key],
        witAuthorities: [key],
      }),
    ).toEqual({
      ...bundle,
      x509Authorities: [tainted, authority(2)],
      jwtAuthorities: [key],
      witAuthorities: [key],
      sequenceNumber: 1,
    });
    const same = await store().bundles.append({
      ...bundle,
      jwtAuthorities: [key],
      witAuthorities: [key],
    });
    expect(same.sequenceNumber).toBe(1);
    const more = [{ ...key, keyId: "l" }];
    const next = await store().bundles.append({ ...bundle, witAuthorities: more });
    expect(next).toEqual({ ...same, witAuthorities: [key, ...more], sequenceNumber: 2 });
    expect(await store().bundles.find("other.org")).toEqual(next);
  });

  test("concurrent updates are all in the result", async () => {
    await store().bundles.create(emptyBundle(trustDomain));
    await Promise.all(
      Array.from({ length: 8 }, (_, byte) =>
        store().bundles.update("other.org", (bundle) => ({
          ...bundle,
          x509Authorities: [...bundle.x509Authorities, authority(byte)],
        })),
      ),
    );
    const bytes = (await store().bundles.find("other.org"))?.x509Authorities.map(
      ({ certificate }) => certificate[0],
    );
    expect(bytes?.sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    const kept = await store().bundles.update("other.org", () => undefined);
    expect(kept.x509Authorities).toHaveLength(8);
  });

  test("create refuses what is there; update and delete what is not", async () => {
    await store().bundles.create(emptyBundle(trustDomain));
    expect(await rejection(store().bundles.create(emptyBundle(trustDomain)))).toMatchObject({
      code: StatusCode.ALREADY_EXISTS,
      message: "bundle already exists",
    });
    for (const missing of [
      () => store().bundles.update("no.org", (bundle) => bundle),
      () => store().bundles.delete("no.org", "restrict"),
    ]) {
      expect(await rejection(missing())).toMatchObject({ code: StatusCode.NOT_FOUND });
    }
  });

  test("list goes by name, page by page", async () => {
    for (const name of ["c.org", "a.org", "b.org"]) {
      await store().bundles.set(emptyBundle(TrustDomain.parse(name)));
    }
    const first = await store().bundles.list({ size: 2, token: "" });
    const second = await store().bundles.list({ size: 2, token: first.nextToken });
    const names = [...first.items, ...second.items].map((bundle) => bundle.trustDomain.name);
    expect(names).toEqual(["a.org", "b.org", "c.org"]);
    expect(second.nextToken).toBe("");
    expect(await store().bundles.count()).toBe(3);
  });

  test("deleting a bundle that entries federate with goes by the mode", async () => {
    const fill = async (): Promise<void> => {
      await store().bundles.set(emptyBundle(trustDomain));
      await store().entries.create([makeEntry("fed", { federatesWith: ["other.org"] })]);
    };
    await fill();
    expect(await rejection(store().bundles.delete("other.org", "restrict"))).toMatchObject({
      code: StatusCode.FAILED_PRECONDITION,
    });
    await store().bundles.delete("other.org", "dissociate");
    expect((await store().entries.find("fed"))?.federatesWith).toEqual([]);
    await store().entries.delete("fed");
    await fill();
    await store().bundles.delete("other.org", "delete");
    expect(await store().entries.find("fed")).toBeUndefined();
  });
}

function changeTests(store: () => DataStore): void {
  test("a listener knows of a change before the write resolves, and of nothing that was refused", async () => {
    const seen: DataStoreChange[] = [];
    const end = store().onChange((change) => void seen.push(change));
    const [outcome] = await store().entries.create([makeEntry("a")]);
    expect(outcome).toMatchObject({ created: true });
    expect(seen.map(({ entries }) => entries.stored)).toEqual([[makeEntry("a")]]);
    await store().entries.create([makeEntry("a")]);
    await store()
      .entries.update("no", {})
      .catch(() => undefined);
    expect(seen).toHaveLength(1);
    await store().nodes.put(makeNode("n"));
    expect(seen.at(-1)?.nodes.stored).toEqual([makeNode("n")]);
    await store().nodes.delete(makeNode("n").spiffeId);
    expect(seen.at(-1)?.nodes.removed).toEqual([makeNode("n").spiffeId]);
    await store().bundles.set(emptyBundle(TrustDomain.parse("b.org")));
    expect(seen.at(-1)?.bundles).toEqual(["b.org"]);
    end();
    await store().entries.delete("a");
    expect(seen).toHaveLength(4);
  });

  test("entries that go with a node or a bundle are in the change", async () => {
    const node = makeNode("n");
    const selectors = [{ type: "spiffe_id", value: node.spiffeId }];
    await store().nodes.put(node);
    await store().bundles.set(emptyBundle(TrustDomain.parse("b.org")));
    await store().entries.create([
      makeEntry("made", { parentId: SpiffeId.parse(node.spiffeId), selectors }),
      makeEntry("fed", { federatesWith: ["b.org"] }),
    ]);
    const seen: DataStoreChange[] = [];
    store().onChange((change) => void seen.push(change));
    await store().nodes.delete(node.spiffeId);
    await store().bundles.delete("b.org", "dissociate");
    expect(seen.map(({ entries }) => entries)).toEqual([
      { stored: [], removed: ["made"] },
      { stored: [makeEntry("fed")], removed: [] },
    ]);
  });
}
