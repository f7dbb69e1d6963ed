import { describe, expect, test } from "bun:test";
import { type Bundle, emptyBundle, type JwtAuthority, type X509Authority } from "#spiffe/bundle.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { newlyTainted, withUpstream, withVanished } from "./upstream-bundle.ts";

const x509 = (name: string, tainted = false): X509Authority => ({
  certificate: Buffer.from(name),
  tainted,
});
const jwt = (keyId: string, tainted = false): JwtAuthority => ({
  keyId,
  publicKey: Buffer.from(`key of ${keyId}`),
  expiresAt: 1,
  tainted,
});
const bundle = (
  x509Authorities: readonly X509Authority[],
  jwtAuthorities: readonly JwtAuthority[] = [],
): Bundle => ({
  ...emptyBundle(TrustDomain.parse("example.org")),
  x509Authorities,
  jwtAuthorities,
  sequenceNumber: 7,
});
const isOwn = (keyId: string): boolean => keyId.startsWith("own");

describe("of X.509 authorities", () => {
  test("new ones come, tainted or not, and nothing else changes", () => {
    const ours = bundle([x509("a")]);
    const theirs = bundle([x509("b"), x509("a"), x509("c", true)]);
    expect(withUpstream(ours, theirs, isOwn)).toEqual({
      ...ours,
      x509Authorities: [x509("a"), x509("b"), x509("c", true)],
      sequenceNumber: 8,
    });
  });

  test("without news there is no change", () => {
    const ours = bundle([x509("a"), x509("b", true)], [jwt("k"), jwt("own")]);
    expect(withUpstream(ours, bundle([x509("b", true)], [jwt("k")]), isOwn)).toBeUndefined();
  });

  test("a taint above is one here, and is never lifted", () => {
    const ours = bundle([x509("a"), x509("b", true)]);
    const after = withUpstream(ours, bundle([x509("a", true), x509("b")]), isOwn);
    expect(after?.x509Authorities).toEqual([x509("a", true), x509("b", true)]);
  });

  test("a tainted one that is gone above goes here; a sound one stays", () => {
    const after = withUpstream(bundle([x509("a"), x509("b", true)]), bundle([x509("c")]), isOwn);
    expect(after?.x509Authorities).toEqual([x509("a"), x509("c")]);
  });

  test("those are newly tainted that we have and hold to be sound", () => {
    const ours = bundle([x509("a"), x509("b", true), x509("c")]);
    const theirs = bundle([x509("a", true), x509("b", true), x509("d", true), x509("c")]);
    expect(newlyTainted(ours, theirs)).toEqual([Buffer.from("a")]);
  });
});

describe("of JWT keys", () => {
  test("those of others come, are tainted and go as above", () => {
    const ours = bundle([], [jwt("a"), jwt("b", true), jwt("c")]);
    const after = withUpstream(ours, bundle([], [jwt("a", true), jwt("d")]), isOwn);
    expect(after?.jwtAuthorities).toEqual([jwt("a", true), jwt("c"), jwt("d")]);
  });

  test("our own are what we say: revoked ones do not come back, tainted ones stay", () => {
    const ours = bundle([], [jwt("own-tainted", true)]);
    const theirs = bundle([], [jwt("own-revoked"), jwt("own-tainted"), jwt("a")]);
    expect(withUpstream(ours, theirs, isOwn)?.jwtAuthorities).toEqual([
      jwt("own-tainted", true),
      jwt("a"),
    ]);
    expect(withUpstream(ours, bundle([], []), isOwn)).toBeUndefined();
  });
});

describe("what is gone since the last look", () => {
  const last = bundle([x509("a"), x509("b"), x509("c", true)], [jwt("k"), jwt("l")]);
  const now = { ...bundle([x509("b")], [jwt("l")]), sequenceNumber: 8 };

  test("is tainted for once; what was tainted before is gone", () => {
    const once = withVanished(now, last);
    expect(once).toEqual({
      ...now,
      x509Authorities: [x509("b"), x509("a", true)],
      jwtAuthorities: [jwt("l"), jwt("k", true)],
    });
    expect(withVanished({ ...now, sequenceNumber: 9 }, once)).toEqual({
      ...now,
      sequenceNumber: 9,
    });
  });

  test("is not gone by an older bundle, nor at the first look", () => {
    const older = { ...now, sequenceNumber: 7 };
    expect(withVanished(older, last)).toEqual(older);
    expect(withVanished(now, undefined)).toEqual(now);
  });
});
