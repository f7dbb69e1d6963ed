import { describe, expect, test } from "bun:test";
import { Entry, EntryMask } from "#proto/spire/api/types/entry.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { entryChangeFrom, entryFieldsFrom, entryMessage } from "./convert-entry.ts";

const trustDomain = TrustDomain.parse("example.org");
const good = Entry.fromPartial({
  spiffeId: { trustDomain: "example.org", path: "/web" },
  parentId: { trustDomain: "example.org", path: "/node" },
  selectors: [
    { type: "unix", value: "uid:2" },
    { type: "unix", value: "uid:1" },
    { type: "unix", value: "uid:2" },
  ],
  federatesWith: ["spiffe://other.org"],
  additionalAttributes: { jwtSvidIncludeJti: true },
});

describe("an entry that is refused says what the reference says", () => {
  test.each([
    [{ spiffeId: undefined }, "invalid spiffe ID: request must specify SPIFFE ID"],
    [
      { spiffeId: { trustDomain: "other.org", path: "/x" } },
      'invalid spiffe ID: "spiffe://other.org/x" is not a member of trust domain "example.org"',
    ],
    [
      { spiffeId: { trustDomain: "example.org", path: "/spire/x" } },
      'invalid spiffe ID: "spiffe://example.org/spire/x" is not a workload in trust domain "example.org"; path is in the reserved namespace',
    ],
    [
      { spiffeId: { trustDomain: "example.org", path: "x" } },
      "invalid spiffe ID: path must have a leading slash",
    ],
    [
      { parentId: { trustDomain: "example.org", path: "" } },
      'invalid parent ID: "spiffe://example.org" is not a member of trust domain "example.org"; path is empty',
    ],
    [{ selectors: [] }, "selector list is empty"],
    [{ selectors: [{ type: "a:b", value: "c" }] }, "selector type contains ':'"],
    [{ selectors: [{ type: "a", value: "" }] }, "missing selector value"],
    [{ dnsNames: ["a b"] }, 'invalid DNS name: idna error: invalid label "a b"'],
    [{ hint: "h".repeat(1025) }, "hint is too long, max length is 1024 characters"],
    [{ federatesWith: [""] }, "invalid federated trust domain: trust domain is missing"],
  ])("%j", (change, message) => {
    expect(() => entryFieldsFrom(trustDomain, { ...good, ...change })).toThrow(new Error(message));
  });
});

test("selectors are sorted and deduplicated, trust domains reduced to their names", () => {
  const fields = entryFieldsFrom(trustDomain, good);
  expect(fields.selectors.map(({ value }) => value)).toEqual(["uid:1", "uid:2"]);
  expect(fields.federatesWith).toEqual(["other.org"]);
  expect(fields.jwtSvidIncludeJti).toBe(true);
});

test("a mask reads what it names and leaves the rest unread", () => {
  const mask = EntryMask.fromPartial({ hint: true, additionalAttributes: true });
  const change = entryChangeFrom(trustDomain, Entry.fromPartial({ hint: "h" }), mask);
  expect(change).toEqual({
    hint: "h",
    disableX509SvidPrefetch: false,
    jwtSvidIncludeJti: false,
  });
});

test("an output mask of nothing leaves the ID alone", () => {
  const entry = {
    ...entryFieldsFrom(trustDomain, good),
    id: "e",
    createdAt: 7,
    revisionNumber: 3,
  };
  expect(entryMessage(entry, EntryMask.fromPartial({}))).toEqual(Entry.fromPartial({ id: "e" }));
  expect(entryMessage(entry, undefined)).toMatchObject({
    id: "e",
    createdAt: 7,
    revisionNumber: 3,
  });
});
