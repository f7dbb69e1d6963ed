import { describe, expect, test } from "bun:test";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import type { DataStore, JoinTokenClaim } from "./datastore.ts";
import { ALL, makeEntry, makeNode, rejection } from "./records.conformance.ts";

const NOW = 1_700_000_000;
const TOKEN = { token: "secret", expiresAt: NOW + 600 };
const node = makeNode("joined");

/** A claim on TOKEN by a key that is told by one byte. */
function claim(key: number, given: Partial<JoinTokenClaim> = {}): JoinTokenClaim {
  const publicKeySha256 = new Uint8Array(32).fill(key);
  return { token: TOKEN.token, publicKeySha256, now: NOW, usedSince: NOW - 60, ...given };
}

/** The claim that the same key makes some seconds later. */
function later(seconds: number, key = 1): JoinTokenClaim {
  return claim(key, { now: NOW + seconds, usedSince: NOW + seconds - 60 });
}

export function joinTokenTests(store: () => DataStore): void {
  test("of many nodes that present a token at once, one is let in and stored", async () => {
    await store().joinTokens.create(TOKEN);
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, key) =>
        store().joinTokens.join({ ...node, serialNumber: `${key + 1}` }, claim(key)),
      ),
    );
    expect(outcomes.filter((outcome) => outcome !== "refused")).toEqual(["taken"]);
    const winner = outcomes.indexOf("taken");
    expect(await store().nodes.find(node.spiffeId)).toEqual({
      ...node,
      serialNumber: `${winner + 1}`,
    });
    expect(await store().joinTokens.find(claim(winner))).toEqual(TOKEN);
    expect(await store().joinTokens.find(claim(winner + 1))).toBeUndefined();
  });

  test("a node whose token is not good is not stored, and an expired token is not used up", async () => {
    await store().joinTokens.create(TOKEN);
    const { expiresAt } = TOKEN;
    expect(await store().joinTokens.join(node, claim(1, { token: "other" }))).toBe("refused");
    expect(await store().joinTokens.join(node, claim(1, { now: expiresAt + 1 }))).toBe("refused");
    expect(await store().nodes.find(node.spiffeId)).toBeUndefined();
    expect(await store().joinTokens.find(claim(2, { now: expiresAt + 1 }))).toEqual(TOKEN);
    expect(await store().joinTokens.join(node, claim(2, { now: expiresAt }))).toBe("taken");
  });

  test("the key that used a token is let in again until the minute after its first use is over", async () => {
    await store().joinTokens.create(TOKEN);
    expect(await store().joinTokens.join(node, claim(1))).toBe("taken");
    const again = { ...node, serialNumber: "77" };
    expect(await store().joinTokens.join(again, later(30))).toBe("repeated");
    expect(await store().nodes.find(node.spiffeId)).toEqual(again);
    expect(await store().joinTokens.join(node, later(60))).toBe("repeated");
    expect(await store().joinTokens.join(node, later(61))).toBe("refused");
    expect(await store().joinTokens.find(later(61))).toBeUndefined();
  });

  test("a use is not repeated by another key, after the token expired, or by a clock set back", async () => {
    const expiresAt = NOW + 10;
    await store().joinTokens.create({ ...TOKEN, expiresAt });
    await store().joinTokens.join(node, claim(1));
    expect(await store().joinTokens.join(node, later(1, 2))).toBe("refused");
    expect(await store().joinTokens.join(node, later(11))).toBe("refused");
    expect(await store().joinTokens.join(node, later(-1))).toBe("refused");
  });

  test("a ban or a deletion in between ends the repetition, and the node stays as it is", async () => {
    await store().joinTokens.create(TOKEN);
    await store().joinTokens.join(node, claim(1));
    const banned = await store().nodes.update(node.spiffeId, { serialNumber: "" });
    expect(await store().joinTokens.join(node, later(1))).toBe("refused");
    expect(await store().nodes.find(node.spiffeId)).toEqual(banned);
    await store().nodes.delete(node.spiffeId);
    expect(await store().joinTokens.join(node, later(1))).toBe("refused");
    expect(await store().nodes.find(node.spiffeId)).toBeUndefined();
  });

  test("a token that is there is not created again; one that was used is, and starts afresh", async () => {
    await store().joinTokens.create(TOKEN);
    const again = { ...TOKEN, expiresAt: TOKEN.expiresAt + 1 };
    expect(await rejection(store().joinTokens.create(again))).toMatchObject({
      code: StatusCode.ALREADY_EXISTS,
    });
    await store().joinTokens.join(node, claim(1));
    await store().joinTokens.create(again);
    expect(await store().joinTokens.find(claim(2))).toEqual(again);
    expect(await store().joinTokens.join(node, claim(2))).toBe("taken");
  });

  test("deleting an unused token takes along the entry made with it; a used one and its entry stay", async () => {
    const parentId = SpiffeId.parse(node.spiffeId);
    const selectors = [{ type: "spiffe_id", value: node.spiffeId }];
    const entries = [makeEntry("alias", { parentId, selectors }), makeEntry("other", { parentId })];
    await store().entries.create(entries);
    await store().joinTokens.create(TOKEN);
    expect(await store().joinTokens.delete(TOKEN.token, node.spiffeId)).toBe("deleted");
    expect((await store().entries.list({}, ALL)).items.map(({ id }) => id)).toEqual(["other"]);
    expect(await store().joinTokens.join(node, claim(1))).toBe("refused");
    expect(await store().joinTokens.delete(TOKEN.token, node.spiffeId)).toBe("unknown");
    await store().entries.create(entries);
    await store().joinTokens.create(TOKEN);
    await store().joinTokens.join(node, claim(1));
    expect(await store().joinTokens.delete(TOKEN.token, node.spiffeId)).toBe("used");
    expect(await store().entries.count({})).toBe(2);
    expect(await store().joinTokens.join(node, later(1))).toBe("repeated");
  });

  describe("a token that lets a node in again", () => {
    const again = { token: "again", expiresAt: NOW + 600, rejoins: node.spiffeId };
    const replaced = { ...node, serialNumber: "77" };

    test("is found with the node's ID, and replaces that node alone", async () => {
      await store().nodes.put(node);
      await store().joinTokens.create(again);
      const presented = claim(1, { token: "again" });
      expect(await store().joinTokens.find(presented)).toEqual(again);
      expect(await store().joinTokens.join(makeNode("other"), presented)).toBe("refused");
      expect(await store().joinTokens.join(replaced, presented)).toBe("taken");
      expect(await store().nodes.find(node.spiffeId)).toEqual(replaced);
      expect(await store().joinTokens.join(replaced, claim(2, { token: "again" }))).toBe("refused");
      const repeated = claim(1, { token: "again", now: NOW + 60, usedSince: NOW });
      expect(await store().joinTokens.join(replaced, repeated)).toBe("repeated");
    });

    test("needs a node that is there and not banned, when it is made and when it is used", async () => {
      const refusal = { code: StatusCode.NOT_FOUND, message: "agent not found" };
      expect(await rejection(store().joinTokens.create(again))).toMatchObject(refusal);
      await store().nodes.put(node);
      await store().joinTokens.create(again);
      await store().nodes.update(node.spiffeId, { serialNumber: "" });
      expect(await rejection(store().joinTokens.create(again))).toMatchObject(refusal);
      expect(await store().joinTokens.join(replaced, claim(1, { token: "again" }))).toBe("refused");
    });

    test("goes with the node, and does not come back with it", async () => {
      await store().nodes.put(node);
      await store().joinTokens.create(again);
      await store().nodes.delete(node.spiffeId);
      await store().nodes.put(node);
      expect(await store().joinTokens.join(replaced, claim(1, { token: "again" }))).toBe("refused");
    });

    test("takes the place of the one before, and is deleted by the node's ID while it is unused", async () => {
      await store().nodes.put(node);
      await store().joinTokens.create({ ...again, token: "before" });
      await store().joinTokens.create(again);
      expect(await store().joinTokens.find(claim(1, { token: "before" }))).toBeUndefined();
      expect(await store().joinTokens.deleteRejoin(node.spiffeId)).toBe(true);
      expect(await store().joinTokens.deleteRejoin(node.spiffeId)).toBe(false);
      expect(await store().joinTokens.find(claim(1, { token: "again" }))).toBeUndefined();
      await store().joinTokens.create(again);
      await store().joinTokens.join(replaced, claim(1, { token: "again" }));
      expect(await store().joinTokens.deleteRejoin(node.spiffeId)).toBe(false);
    });
  });

  test("pruning forgets what expired or was used before the moments, not at them", async () => {
    for (const expiresAt of [NOW - 1, NOW, NOW + 1]) {
      await store().joinTokens.create({ token: `expires${expiresAt}`, expiresAt });
    }
    for (const now of [NOW - 1, NOW]) {
      const token = `used${now}`;
      await store().joinTokens.create({ token, expiresAt: NOW + 600 });
      await store().joinTokens.join(node, claim(1, { token, now }));
    }
    expect(await store().joinTokens.prune(NOW, NOW)).toBe(2);
    expect(await store().joinTokens.prune(NOW, NOW)).toBe(0);
    const left = [`expires${NOW - 1}`, `expires${NOW}`, `used${NOW - 1}`, `used${NOW}`];
    const found = left.map((token) => store().joinTokens.find(claim(1, { token })));
    expect((await Promise.all(found)).map((token) => token?.token)).toEqual([
      undefined,
      `expires${NOW}`,
      undefined,
      `used${NOW}`,
    ]);
  });
}
