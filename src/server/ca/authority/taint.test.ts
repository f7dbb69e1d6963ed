import { describe, expect, test } from "bun:test";
import { type Bundle, emptyBundle } from "#spiffe/bundle.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { make } from "#x509/pki.fixture.ts";
import { x509AuthorityIds } from "./authority.ts";
import {
  revokeJwtAuthority,
  revokeX509Authority,
  taintJwtAuthority,
  taintX509Authority,
} from "./taint.ts";

const roots = await Promise.all(
  ["old", "new"].map(async (name) => (await make({ name, isCa: true })).certificate),
);
const X509_IDS = roots.map((root) => x509AuthorityIds(root).authorityId);
const JWT_IDS = ["old", "new"];

/** Two authorities of each kind, of which the first is the old one. */
const bundle = (tainted: boolean): Bundle => ({
  ...emptyBundle(TrustDomain.parse("example.org")),
  sequenceNumber: 7,
  x509Authorities: roots.map(({ der }, index) => ({
    certificate: der,
    tainted: tainted && index === 0,
  })),
  jwtAuthorities: JWT_IDS.map((keyId, index) => ({
    keyId,
    publicKey: Uint8Array.of(index),
    expiresAt: 0,
    tainted: tainted && index === 0,
  })),
});

const kinds = [
  {
    kind: "X.509",
    taint: taintX509Authority,
    revoke: revokeX509Authority,
    ids: X509_IDS,
    taintsOf: ({ x509Authorities }: Bundle) => x509Authorities.map((one) => one.tainted),
    words: [
      "root CA is already tainted",
      "it is not possible to revoke an untainted root CA",
      "no ca found with provided subject key ID",
      "no root CA found with provided subject key ID",
    ],
  },
  {
    kind: "JWT",
    taint: taintJwtAuthority,
    revoke: revokeJwtAuthority,
    ids: JWT_IDS,
    taintsOf: ({ jwtAuthorities }: Bundle) => jwtAuthorities.map((one) => one.tainted),
    words: [
      "key is already tainted",
      "it is not possible to revoke an untainted key",
      "no JWT Key found with provided key ID",
      "no JWT Key found with provided key ID",
    ],
  },
] as const;

describe.each(kinds)("an authority for $kind-SVIDs", ({ taint, revoke, ids, taintsOf, words }) => {
  const [old = "", current = ""] = ids;
  const [already, untainted, nothingToTaint, nothingToRevoke] = words;
  const refused = (code: StatusCode, message: string): object =>
    expect.objectContaining({ code, message });

  test("is tainted alone", () => {
    const changed = taint(bundle(false), old);
    expect(taintsOf(changed)).toEqual([true, false]);
    expect(changed.sequenceNumber).toBe(8);
  });

  test("that is tainted is revoked alone", () => {
    const changed = revoke(bundle(true), old);
    expect(taintsOf(changed)).toEqual([false]);
    expect(changed.sequenceNumber).toBe(8);
  });

  test("is not tainted twice, and not revoked before it is tainted", () => {
    const invalid = StatusCode.INVALID_ARGUMENT;
    expect(() => taint(bundle(true), old)).toThrow(refused(invalid, already));
    expect(() => revoke(bundle(true), current)).toThrow(refused(invalid, untainted));
  });

  test("that is in no bundle is not found", () => {
    const code = StatusCode.NOT_FOUND;
    expect(() => taint(bundle(false), "other")).toThrow(refused(code, nothingToTaint));
    expect(() => revoke(bundle(true), "other")).toThrow(refused(code, nothingToRevoke));
  });
});
