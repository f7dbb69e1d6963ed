import { expect, test } from "bun:test";
import { EntryMask } from "#proto/spire/api/types/entry.ts";
import { makeEntry } from "#server/datastore/records.conformance.ts";
import { EncodedEntries } from "./encoded-entries.ts";

function counting() {
  let count = 0;
  const encoded = new EncodedEntries(({ id }) => {
    count++;
    return Buffer.from(id);
  });
  return { encoded, count: () => count };
}
const one = makeEntry("one", {});
const two = makeEntry("two", {});
const mask = (fields: Partial<EntryMask>): EntryMask => EntryMask.fromPartial(fields);

test("an entry is encoded once, however often it is asked for", () => {
  const { encoded, count } = counting();
  for (let n = 0; n < 3; n++) {
    expect(Buffer.concat(encoded.of([one, two], undefined)).toString()).toBe("onetwo");
  }
  expect(count()).toBe(2);
});

test("an entry that changed is another one", () => {
  const { encoded, count } = counting();
  encoded.of([one], undefined);
  encoded.of([{ ...one, hint: "new" }], undefined);
  expect(count()).toBe(2);
});

test("masks have encodings of their own: the same fields the same, none not as all", () => {
  const { encoded, count } = counting();
  for (const asked of [undefined, mask({}), mask({ hint: true }), mask({ hint: true })]) {
    encoded.of([one], asked);
  }
  expect(count()).toBe(3);
});

test("of many masks only the latest few are kept", () => {
  const { encoded, count } = counting();
  const masks = ["hint", "admin", "spiffeId", "parentId", "selectors"] as const;
  for (const field of masks) encoded.of([one], mask({ [field]: true }));
  encoded.of([one], mask({ selectors: true }));
  expect(count()).toBe(5);
  encoded.of([one], mask({ hint: true }));
  expect(count()).toBe(6);
});
