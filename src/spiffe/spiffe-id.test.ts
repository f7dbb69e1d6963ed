import { describe, expect, test } from "bun:test";
import { SpiffeId } from "./spiffe-id.ts";
import { problemText, SpiffeIdError } from "./spiffe-id-error.ts";
import { TrustDomain } from "./trust-domain.ts";

const EXAMPLE = TrustDomain.parse("example.org");
const HEAD = "spiffe://example.org/";

function problem(make: () => unknown): string {
  try {
    make();
  } catch (error) {
    if (error instanceof SpiffeIdError) return problemText(error);
    throw error;
  }
  return "none";
}

describe("an ID", () => {
  test.each([
    ["", "SPIFFE ID cannot be empty"],
    ["spiffe:///a", "trust domain is missing"],
    [`${HEAD}a/`, "path cannot have a trailing slash"],
    [HEAD, "path cannot have a trailing slash"],
    [`${HEAD}a//b`, "path cannot contain empty segments"],
    [`${HEAD}a/../b`, "path cannot contain dot segments"],
    [`${HEAD}${"a".repeat(2049 - HEAD.length)}`, "SPIFFE ID is longer than 2048 bytes"],
    [`${HEAD}${"a".repeat(2048 - HEAD.length)}`, "none"],
    ["spiffe://example.org", "none"],
  ])("%.40p: %s", (text, expected) => {
    expect(problem(() => SpiffeId.parse(text))).toBe(expected);
  });

  test("equals the same text alone", () => {
    const id = SpiffeId.parse(`${HEAD}a`);
    expect(id.equals(SpiffeId.of(EXAMPLE, "/a"))).toBe(true);
    expect(id.equals(SpiffeId.parse(`${HEAD}b`))).toBe(false);
  });
});

describe("a trust domain and a path", () => {
  test.each(["", "/a", "/a/b"])("%p is joined", (path) => {
    expect(SpiffeId.of(EXAMPLE, path).toString()).toBe(`spiffe://example.org${path}`);
  });

  test.each([
    ["a", "path must have a leading slash"],
    ["/a/", "path cannot have a trailing slash"],
    [`/${"a".repeat(2049 - HEAD.length)}`, "SPIFFE ID is longer than 2048 bytes"],
    [`/${"a".repeat(2048 - HEAD.length)}`, "none"],
  ])("%.20p: %s", (path, expected) => {
    expect(problem(() => SpiffeId.of(EXAMPLE, path))).toBe(expected);
  });
});

test("the problem of another error is its message", () => {
  expect([problemText(new Error("other")), problemText("text")]).toEqual(["other", "text"]);
});
