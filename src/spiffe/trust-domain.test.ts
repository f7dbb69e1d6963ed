import { describe, expect, test } from "bun:test";
import { problemText } from "./spiffe-id-error.ts";
import { TrustDomain } from "./trust-domain.ts";

/** More than share one value. */
const MANY = 200;

describe("parse", () => {
  test.each(["example.org", "spiffe://example.org", "spiffe://example.org/a/b"])("%s", (text) => {
    expect(TrustDomain.parse(text).name).toBe("example.org");
  });

  test.each([
    ["", "trust domain is missing"],
    ["spiffe://", "trust domain is missing"],
    ["spiffe:///a", "trust domain is missing"],
    ["http://example.org", "scheme is missing or invalid"],
    ["x:/example.org", "scheme is missing or invalid"],
  ])("%p: %s", (text, problem) => {
    let error: unknown;
    try {
      TrustDomain.parse(text);
    } catch (thrown) {
      error = thrown;
    }
    expect(problemText(error)).toBe(problem);
  });
});

test("equals one of the same name alone", () => {
  const one = TrustDomain.parse("example.org");
  expect(one.equals(TrustDomain.parse("spiffe://example.org/a"))).toBe(true);
  expect(one.equals(TrustDomain.parse("example.com"))).toBe(false);
});

test("one value is shared among the first names, and strangers cannot fill the memory with theirs", () => {
  const parse = (index: number): TrustDomain => TrustDomain.parse(`n${index}.example.org`);
  const shared = Array.from({ length: MANY }, (_, index) => {
    const first = parse(index);
    return first === parse(index);
  });
  expect(shared).toContain(true);
  expect(shared.at(-1)).toBe(false);
});
