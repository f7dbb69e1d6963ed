import { expect, test } from "bun:test";
import { type Bundle, emptyBundle, sameBundle } from "#spiffe/bundle.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";

const x509 = (byte: number): Bundle["x509Authorities"][number] => ({
  certificate: Uint8Array.of(byte),
  tainted: false,
});
const jwt = (keyId: string, byte = 1): Bundle["jwtAuthorities"][number] => ({
  keyId,
  publicKey: Uint8Array.of(byte),
  expiresAt: 0,
  tainted: false,
});
const bundle: Bundle = {
  ...emptyBundle(TrustDomain.parse("f.org")),
  x509Authorities: [x509(1), x509(2)],
  jwtAuthorities: [jwt("a"), jwt("b")],
};

test.each([
  ["itself", {}],
  ["keys for JWT-SVIDs in another order", { jwtAuthorities: [jwt("b"), jwt("a")] }],
  [
    "what a document cannot say",
    {
      x509Authorities: [{ ...x509(1), tainted: true }, x509(2)],
      jwtAuthorities: [{ ...jwt("a"), expiresAt: 5, tainted: true }, jwt("b")],
    },
  ],
] as const)("a bundle is the same with %s", (_, change) => {
  expect(sameBundle(bundle, { ...bundle, ...change })).toBe(true);
});

test.each([
  ["hint", { refreshHint: 1 }],
  ["sequence number", { sequenceNumber: 1 }],
  ["authority", { x509Authorities: [x509(1), x509(3)] }],
  [
    "longer certificate",
    { x509Authorities: [x509(1), { ...x509(2), certificate: Uint8Array.of(2, 0) }] },
  ],
  ["number of authorities", { x509Authorities: [x509(1)] }],
  ["JWT key", { jwtAuthorities: [jwt("a"), jwt("b", 2)] }],
  ["ID of a JWT key", { jwtAuthorities: [jwt("a"), jwt("c")] }],
  ["number of JWT keys", { jwtAuthorities: [jwt("a")] }],
] as const)("a bundle with another %s is another", (_, change) => {
  expect(sameBundle(bundle, { ...bundle, ...change })).toBe(false);
});
