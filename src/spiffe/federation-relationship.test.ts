import { describe, expect, test } from "bun:test";
import {
  endpointIdOf,
  type FederationRelationship,
  parseBundleEndpointUrl,
  sameEndpoint,
} from "./federation-relationship.ts";
import { SpiffeId } from "./spiffe-id.ts";
import { TrustDomain } from "./trust-domain.ts";

const spiffe = (id: string): FederationRelationship["profile"] => ({
  kind: "https_spiffe",
  endpointSpiffeId: SpiffeId.parse(id),
});
const ONE: FederationRelationship = {
  trustDomain: TrustDomain.parse("example.org"),
  bundleEndpointUrl: "https://example.org/bundle",
  profile: spiffe("spiffe://example.org/server"),
};

describe("sameEndpoint", () => {
  test("of equal ones", () => {
    const profile = spiffe("spiffe://example.org/server");
    expect(sameEndpoint(ONE, { ...ONE, profile })).toBe(true);
  });

  test.each<[string, Partial<FederationRelationship>]>([
    ["trust domain", { trustDomain: TrustDomain.parse("example.com") }],
    ["URL", { bundleEndpointUrl: "https://example.org/other" }],
    ["ID", { profile: spiffe("spiffe://example.org/other") }],
    ["profile", { profile: { kind: "https_web" } }],
  ])("not of those with another %s", (_, change) => {
    expect(sameEndpoint(ONE, { ...ONE, ...change })).toBe(false);
  });

  test("the ID of https_web is empty", () => {
    expect(endpointIdOf(ONE.profile)).toBe("spiffe://example.org/server");
    expect(endpointIdOf({ kind: "https_web" })).toBe("");
  });
});

test.each(["https://example.org/a b", "https://example.org/\t", "https:\\\\example.org"])(
  "a URL with what URLs drop or turn round is refused: %p",
  (url) => {
    expect(() => parseBundleEndpointUrl(url)).toThrow(
      "it contains a space, a control character or a backslash",
    );
  },
);
