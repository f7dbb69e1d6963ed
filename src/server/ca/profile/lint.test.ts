import { describe, expect, test } from "bun:test";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { checkSvid } from "./lint.ts";
import type { SvidRequest } from "./profile.ts";

const EXAMPLE = TrustDomain.parse("example.org");
const CA_NOT_AFTER = 2000;
const REQUEST: SvidRequest = {
  id: SpiffeId.parse("spiffe://example.org/db"),
  notBefore: 1000,
  notAfter: CA_NOT_AFTER,
  publicKeySpki: new Uint8Array(),
  subjectDer: new Uint8Array(),
  dnsNames: [],
};

const check = (change: Partial<SvidRequest>): SvidRequest =>
  checkSvid({ ...REQUEST, ...change }, EXAMPLE, CA_NOT_AFTER);

describe("before a signature", () => {
  test("a request that is in order passes, up to the very end of the CA", () => {
    const passed: unknown = check({});
    expect(passed).toEqual(REQUEST);
  });

  test.each<[string, Partial<SvidRequest>, StatusCode, string]>([
    [
      "an ID of another trust domain",
      { id: SpiffeId.parse("spiffe://example.com/db") },
      StatusCode.INTERNAL,
      'X.509-SVID refused: "spiffe://example.com/db" is not a member of trust domain "example.org"',
    ],
    [
      "the ID of the trust domain itself",
      { id: SpiffeId.parse("spiffe://example.org") },
      StatusCode.INTERNAL,
      'X.509-SVID refused: "spiffe://example.org" has no path, so it cannot name a workload',
    ],
    [
      "a second longer than the CA",
      { notAfter: CA_NOT_AFTER + 1 },
      StatusCode.INTERNAL,
      "X.509-SVID refused: an SVID cannot outlive its CA",
    ],
    [
      "no time at all",
      { notBefore: CA_NOT_AFTER },
      StatusCode.UNAVAILABLE,
      "the X.509 CA has expired; a new one is needed first",
    ],
  ])("%s is refused", (_, change, code, message) => {
    expect(() => check(change)).toThrow(expect.objectContaining({ code, message }));
  });
});
