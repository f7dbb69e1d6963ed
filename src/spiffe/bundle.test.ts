import { describe, expect, test } from "bun:test";
import { type Bundle, checkKeyId, type KeyAuthority, sameBundle } from "./bundle.ts";
import { StatusCode } from "./status-error.ts";
import { TrustDomain } from "./trust-domain.ts";

const root = (byte: number): { certificate: Uint8Array; tainted: boolean } => ({
  certificate: Uint8Array.of(1, byte),
  tainted: false,
});
const key = (keyId: string, ...publicKey: number[]): KeyAuthority => ({
  keyId,
  publicKey: Uint8Array.from(publicKey),
  expiresAt: 0,
  tainted: false,
});
const BUNDLE: Bundle = {
  trustDomain: TrustDomain.parse("example.org"),
  x509Authorities: [root(1), root(2)],
  jwtAuthorities: [key("a", 1, 2), key("b", 3, 4)],
  witAuthorities: [],
  refreshHint: 300,
  sequenceNumber: 7,
};

describe("sameBundle", () => {
  test("of equal ones, whatever the order, the taints and the expiry of the keys", () => {
    const [a, b] = BUNDLE.jwtAuthorities;
    const jwtAuthorities = [
      { ...b!, expiresAt: 5 },
      { ...a!, tainted: true },
    ];
    const x509Authorities = BUNDLE.x509Authorities.map((one) => ({ ...one, tainted: true }));
    expect(sameBundle(BUNDLE, { ...BUNDLE, jwtAuthorities, x509Authorities })).toBe(true);
  });

  test.each<[string, Partial<Bundle>]>([
    ["another hint", { refreshHint: 301 }],
    ["another sequence number", { sequenceNumber: 8 }],
    ["another root", { x509Authorities: [root(1), root(3)] }],
    ["roots in another order", { x509Authorities: [root(2), root(1)] }],
    ["a root less", { x509Authorities: [root(1)] }],
    ["a root more", { x509Authorities: [root(1), root(2), root(3)] }],
    ["another key under an ID", { jwtAuthorities: [key("a", 1, 2), key("b", 3, 5)] }],
    ["a key that begins the same", { jwtAuthorities: [key("a", 1, 2), key("b", 3, 4, 5)] }],
    ["another ID for a key", { jwtAuthorities: [key("a", 1, 2), key("c", 3, 4)] }],
    ["a key less", { jwtAuthorities: [key("a", 1, 2)] }],
    ["a key more", { jwtAuthorities: [...BUNDLE.jwtAuthorities, key("c", 5)] }],
  ])("not with %s", (_, change) => {
    expect(sameBundle(BUNDLE, { ...BUNDLE, ...change })).toBe(false);
    expect(sameBundle({ ...BUNDLE, ...change }, BUNDLE)).toBe(false);
  });
});

describe("checkKeyId", () => {
  const known = [key("a", 1, 2), key("b", 3, 4)];

  test("lets a new ID pass, and the same key again", () => {
    checkKeyId(key("c", 1, 2), known);
    checkKeyId(key("b", 3, 4), known);
  });

  test.each([[[3, 5]], [[3]], [[3, 4, 5]]])("refuses an ID for another key: %p", (bytes) => {
    const refused = expect(() => checkKeyId(key("b", ...bytes), known));
    refused.toThrow(
      expect.objectContaining({
        code: StatusCode.ALREADY_EXISTS,
        message: 'key ID "b" belongs to another key',
      }),
    );
  });
});
