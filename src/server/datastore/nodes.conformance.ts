import { expect, test } from "bun:test";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import type { DataStore } from "./datastore.ts";
import { ALL, makeEntry, makeNode, rejection } from "./records.conformance.ts";

export function nodeTests(store: () => DataStore): void {
  test("put replaces node and selectors and keeps the node's place", async () => {
    await store().nodes.put(makeNode("a"));
    await store().nodes.put(makeNode("b"));
    const again = makeNode("a", { serialNumber: "9", selectors: [{ type: "x", value: "y:z" }] });
    await store().nodes.put(again);
    expect((await store().nodes.list({}, ALL)).items).toEqual([again, makeNode("b")]);
    const bySelector = { selectors: again.selectors, match: "exact" } as const;
    expect(await store().nodes.count({ selectors: bySelector })).toBe(1);
  });

  test("filters hold together", async () => {
    await store().nodes.put(makeNode("plain"));
    await store().nodes.put(makeNode("banned", { serialNumber: "" }));
    await store().nodes.put(
      makeNode("pop", { attestationType: "x509pop", canReattest: true, notAfter: 3_000 }),
    );
    const names = async (filter: Parameters<DataStore["nodes"]["list"]>[0]): Promise<string[]> => {
      const { items } = await store().nodes.list(filter, ALL);
      expect(await store().nodes.count(filter)).toBe(items.length);
      return items.map(({ spiffeId }) => spiffeId.split("/").at(-1) ?? "");
    };
    expect(await names({ banned: true })).toEqual(["banned"]);
    expect(await names({ banned: false })).toEqual(["plain", "pop"]);
    expect(await names({ canReattest: true })).toEqual(["pop"]);
    expect(await names({ attestationType: "join_token", banned: false })).toEqual(["plain"]);
    expect(await names({ expiresBefore: 3_000 })).toEqual(["plain", "banned"]);
    const selectors = [
      { type: "node", value: "pop" },
      { type: "node", value: "plain" },
    ];
    expect(await names({ selectors: { selectors, match: "any" } })).toEqual(["plain", "pop"]);
  });

  test("update changes what it names, and NOT_FOUND without a node", async () => {
    await store().nodes.put(makeNode("a"));
    const after = await store().nodes.update(makeNode("a").spiffeId, { serialNumber: "" });
    expect(after).toEqual(makeNode("a", { serialNumber: "" }));
    expect(await store().nodes.find(after.spiffeId)).toEqual(after);
    for (const missing of [
      () => store().nodes.update("spiffe://example.org/no", {}),
      () => store().nodes.delete("spiffe://example.org/no"),
    ]) {
      expect(await rejection(missing())).toMatchObject({ code: StatusCode.NOT_FOUND });
    }
  });

  test("deleting a node that joined by token takes along the token's own entry, and no other", async () => {
    const node = makeNode("a");
    const parentId = SpiffeId.parse(node.spiffeId);
    const own = { type: "spiffe_id", value: node.spiffeId };
    await store().nodes.put(node);
    await store().entries.create([
      makeEntry("made-by-token", { parentId, selectors: [own] }),
      makeEntry("workload", { parentId }),
      makeEntry("more", { parentId, selectors: [own, { type: "unix", value: "uid:0" }] }),
    ]);
    await store().nodes.delete(node.spiffeId);
    const left = (await store().entries.list({}, ALL)).items.map(({ id }) => id);
    expect(left).toEqual(["workload", "more"]);
  });

  test("pruning spares banned nodes and, unless asked, those that cannot attest again", async () => {
    const expired = { notAfter: 5, canReattest: true };
    await store().nodes.put(makeNode("gone1", expired));
    await store().nodes.put(makeNode("gone2", expired));
    await store().nodes.put(makeNode("tofu", { notAfter: 5 }));
    await store().nodes.put(makeNode("banned", { ...expired, serialNumber: "" }));
    await store().nodes.put(makeNode("valid", { ...expired, notAfter: 6 }));
    expect(await store().nodes.prune(6, false, 1)).toEqual([makeNode("gone1").spiffeId]);
    expect(await store().nodes.prune(6, false, 100)).toEqual([makeNode("gone2").spiffeId]);
    expect(await store().nodes.prune(6, true, 100)).toEqual([makeNode("tofu").spiffeId]);
    expect(await store().nodes.count({})).toBe(2);
  });
}
