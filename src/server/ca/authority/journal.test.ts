import { expect, test } from "bun:test";
import { CaJournal, type JournalKey, withActivated, withPrepared } from "./journal.ts";

const DAY = 86_400;

function key(authorityId: string, status: JournalKey["status"], notAfter = DAY): JournalKey {
  return { slot: "A", status, authorityId, issuedAt: 0, notAfter, publicKey: "" };
}

function shown(records: readonly JournalKey[]): string[] {
  return records.map(({ authorityId, status }) => `${authorityId} ${status}`);
}

test("the one that is activated makes the active one old", () => {
  const records = [key("a", "old"), key("b", "active"), key("c", "prepared")];
  expect(shown(withActivated(records, "c"))).toEqual(["a old", "b old", "c active"]);
});

test("a prepared one takes the place of one that never signed", () => {
  const records = [key("b", "active"), key("c", "prepared")];
  expect(shown(withPrepared(records, key("d", "prepared"), 0))).toEqual(["b active", "d prepared"]);
});

test("at most ten are kept, the newest, and none for longer than two weeks after its end", () => {
  const nine = Array.from({ length: 9 }, (_, index) => key(`${index}`, "old"));
  const records = [...nine, key("active", "active")];
  const kept = withPrepared(records, key("next", "prepared"), 0);
  expect(kept).toHaveLength(10);
  expect(shown(kept).slice(-2)).toEqual(["active active", "next prepared"]);
  const later = withPrepared(records, key("next", "prepared"), DAY + 14 * DAY);
  expect(shown(later)).toEqual(["next prepared"]);
});

test("what was stored is loaded again; what cannot be stored does not count; a later version is refused", async () => {
  let stored: Uint8Array | undefined;
  let full = false;
  const store = {
    load: async () => stored,
    save: async (bytes: Uint8Array) => {
      if (full) throw new Error("disk full");
      stored = bytes;
    },
  };
  const journal = await CaJournal.load(store);
  await journal.changeKeys("jwt", () => [key("a", "active")]);
  full = true;
  const failed = await journal.changeKeys("jwt", () => []).catch(({ message }: Error) => message);
  expect(failed).toBe("disk full");
  expect(shown(journal.keys("jwt"))).toEqual(["a active"]);
  expect(shown((await CaJournal.load(store)).keys("jwt"))).toEqual(["a active"]);
  stored = new TextEncoder().encode(
    `{"version":2,"x509":[],"jwt":${JSON.stringify([key("b", "old")])}}`,
  );
  const older = await CaJournal.load(store);
  expect([shown(older.keys("jwt")), shown(older.keys("wit"))]).toEqual([["b old"], []]);
  stored = new TextEncoder().encode(`{"version":4}`);
  const refused = await CaJournal.load(store).catch(({ message }: Error) => message);
  expect(refused).toContain("written by another version");
});
