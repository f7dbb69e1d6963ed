import { expect, test } from "bun:test";
import { emptyBundle } from "#spiffe/bundle.ts";
import type { FederationRelationship } from "#spiffe/federation-relationship.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import type { DataStore, DataStoreChange } from "./datastore.ts";
import { rejection } from "./records.conformance.ts";

const web = (name: string): FederationRelationship => ({
  trustDomain: TrustDomain.parse(name),
  bundleEndpointUrl: `https://${name}/bundle`,
  profile: { kind: "https_web" },
});
const profile = {
  kind: "https_spiffe",
  endpointSpiffeId: SpiffeId.parse("spiffe://b.org/spire/server"),
} as const;

export function federationRelationshipTests(store: () => DataStore): void {
  const relationships = (): DataStore["federationRelationships"] => store().federationRelationships;

  test("what was created is found, whatever its profile", async () => {
    const spiffe = { ...web("b.org"), profile };
    await relationships().create(web("a.org"), undefined);
    await relationships().create(spiffe, undefined);
    expect(await relationships().find("a.org")).toEqual(web("a.org"));
    expect(await relationships().find("b.org")).toEqual(spiffe);
    expect(await relationships().find("c.org")).toBeUndefined();
    expect(await store().bundles.find("a.org")).toBeUndefined();
  });

  test("a bundle is stored with the relationship, or neither is", async () => {
    const bundle = { ...emptyBundle(TrustDomain.parse("a.org")), refreshHint: 60 };
    await relationships().create(web("a.org"), bundle);
    expect(await store().bundles.find("a.org")).toEqual(bundle);
    const newer = { ...bundle, refreshHint: 90 };
    expect(await rejection(relationships().create(web("a.org"), newer))).toMatchObject({
      code: StatusCode.ALREADY_EXISTS,
    });
    expect(await rejection(relationships().update("no.org", {}, newer))).toMatchObject({
      code: StatusCode.NOT_FOUND,
    });
    expect(await store().bundles.find("a.org")).toEqual(bundle);
    await relationships().update("a.org", {}, newer);
    expect(await store().bundles.find("a.org")).toEqual(newer);
  });

  test("an update replaces what it names and leaves the rest", async () => {
    await relationships().create(web("b.org"), undefined);
    expect(await relationships().update("b.org", { profile }, undefined)).toEqual({
      ...web("b.org"),
      profile,
    });
    const moved = { bundleEndpointUrl: "https://elsewhere" };
    expect(await relationships().update("b.org", moved, undefined)).toEqual({
      ...web("b.org"),
      ...moved,
      profile,
    });
    const back = { profile: { kind: "https_web" } } as const;
    await relationships().update("b.org", back, undefined);
    expect(await relationships().find("b.org")).toEqual({ ...web("b.org"), ...moved });
  });

  test("a deleted relationship is gone, and its bundle stays", async () => {
    await relationships().create(web("a.org"), emptyBundle(TrustDomain.parse("a.org")));
    await relationships().delete("a.org");
    expect(await relationships().find("a.org")).toBeUndefined();
    expect(await store().bundles.find("a.org")).toBeDefined();
    expect(await rejection(relationships().delete("a.org"))).toMatchObject({
      code: StatusCode.NOT_FOUND,
      message: "federation relationship not found",
    });
  });

  test("list goes in storage order, page by page", async () => {
    for (const name of ["c.org", "a.org", "b.org"]) {
      await relationships().create(web(name), undefined);
    }
    const first = await relationships().list({ size: 2, token: "" });
    await relationships().delete("a.org");
    const second = await relationships().list({ size: 2, token: first.nextToken });
    expect([...first.items, ...second.items]).toEqual(["c.org", "a.org", "b.org"].map(web));
    expect(second.nextToken).toBe("");
    expect((await relationships().list({ size: 0, token: "" })).items).toHaveLength(2);
    const wrong = relationships().list({ size: 2, token: "x" });
    expect(await rejection(wrong)).toMatchObject({ code: StatusCode.INVALID_ARGUMENT });
  });

  test("a listener hears of each, and of the bundle that came with it", async () => {
    const seen: DataStoreChange[] = [];
    store().onChange((change) => void seen.push(change));
    await relationships().create(web("a.org"), emptyBundle(TrustDomain.parse("a.org")));
    await relationships().update("a.org", {}, undefined);
    await relationships().delete("a.org");
    expect(seen.map(({ federationRelationships }) => federationRelationships)).toEqual([
      ["a.org"],
      ["a.org"],
      ["a.org"],
    ]);
    expect(seen.map(({ bundles }) => bundles)).toEqual([["a.org"], [], []]);
  });
}
