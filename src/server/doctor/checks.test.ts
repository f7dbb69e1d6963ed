import { describe, expect, test } from "bun:test";
import type { Finding } from "#cli/doctor/finding.ts";
import { Agent } from "#proto/spire/api/types/agent.ts";
import { Bundle } from "#proto/spire/api/types/bundle.ts";
import { make, NOW } from "#x509/pki.fixture.ts";
import { checkAgents } from "./agents.ts";
import { checkAuthorities, checkBundle } from "./authorities.ts";
import { checkForeign } from "./federation.ts";

const HOUR = 3600;
const shown = (findings: readonly Finding[]): string[] =>
  findings.map(({ level, message }) => `${level} ${message}`);

describe("an authority of a day", () => {
  const ttlSeconds = 24 * HOUR;
  const found = (leftSeconds: number | undefined, hasNext = false): string | undefined => {
    const one = (authorityId: string, expiresAt: number) => ({
      authorityId,
      expiresAt,
      upstreamAuthoritySubjectKeyId: "",
    });
    const active = leftSeconds === undefined ? undefined : one("now", NOW + leftSeconds);
    const prepared = hasNext ? one("next", NOW + ttlSeconds) : undefined;
    const state = { active, prepared, old: undefined };
    const issuedAt = NOW + (leftSeconds ?? 0) - ttlSeconds;
    return shown(checkAuthorities({ kind: "X.509", state, issuedAt, now: NOW }))[0];
  };

  test.each([
    ["is missing", undefined, false, "FAIL no X.509 authority signs"],
    ["has expired", -1, false, "FAIL now expired"],
    ["is young", 20 * HOUR, false, "OK now signs"],
    ["should have a successor by now", 11 * HOUR, false, "WARN now signs"],
    ["should have been left by now, and there is no other", 3 * HOUR, false, "FAIL now signs"],
    ["has a successor", 11 * HOUR, true, "OK now signs"],
    ["should have been left for its successor", 3 * HOUR, true, "WARN now signs"],
  ])("that %s", (_what, left, hasNext, beginning) => {
    expect(found(left, hasNext)).toStartWith(beginning);
  });

  test("tells when the next one comes", () => {
    expect(found(20 * HOUR)).toContain("the next one is to be prepared");
    expect(found(20 * HOUR)).toContain("(in 8h0m0s)");
    expect(found(11 * HOUR, true)).toContain("next takes over");
  });
});

describe("a trust bundle", async () => {
  const good = await make({ name: "good", isCa: true });
  const expired = await make({
    name: "expired",
    isCa: true,
    notBefore: NOW - 200 * HOUR,
    notAfter: NOW - 100 * HOUR,
  });
  const ahead = await make({ name: "ahead", isCa: true, notBefore: NOW + 60 });
  const found = (...made: (typeof good)[]): string[] => {
    const x509Authorities = made.map(({ certificate }) => ({ asn1: certificate.der }));
    return shown(checkBundle(Bundle.fromPartial({ x509Authorities }), NOW));
  };

  test("that is empty, or wholly expired", () => {
    const nobody = ["FAIL it has no X.509 authority that is good"];
    expect(found()).toEqual(nobody);
    expect(found(expired)).toEqual(nobody);
  });

  test("that is good, with one that is long expired, with one of the future", () => {
    expect(found(good)[0]).toStartWith("OK 1 X.509 authorities and 0 keys for tokens");
    expect(found(good, expired)).toEqual([
      "WARN 1 authorities expired more than two days ago and are still in it",
    ]);
    expect(found(good, ahead)).toEqual([
      "FAIL 1 X.509 authorities begin later than this machine's clock says",
    ]);
  });

  test("with what is tainted", () => {
    const x509Authorities = [
      { asn1: good.certificate.der },
      { asn1: good.certificate.der, tainted: true },
    ];
    const jwtAuthorities = [{ keyId: "a", expiresAt: NOW + HOUR, tainted: true }];
    const bundle = Bundle.fromPartial({ x509Authorities, jwtAuthorities });
    expect(shown(checkBundle(bundle, NOW))).toEqual(["WARN 2 authorities in it are tainted"]);
  });

  test("of others", () => {
    const bundle = Bundle.fromPartial({ x509Authorities: [{ asn1: good.certificate.der }] });
    const old = Bundle.fromPartial({ x509Authorities: [{ asn1: expired.certificate.der }] });
    const level = (one: Partial<Parameters<typeof checkForeign>[0]>): string => {
      const whole = { name: "other.test", bundle, isFetched: true, problem: undefined, ...one };
      const { level: found, message } = checkForeign(whole, NOW);
      return `${found} ${message.replace(/\d{4}-.*? ago\)|\d{4}-.*?\)/, "TIME")}`;
    };
    expect(level({})).toBe("OK the bundle of other.test is good until TIME");
    expect(level({ problem: "no route" })).toBe(
      "WARN the bundle of other.test cannot be fetched, the one here is good until TIME: no route",
    );
    expect(level({ bundle: undefined, problem: "no route" })).toBe(
      "FAIL other.test has no bundle, so nobody of it is believed: no route",
    );
    expect(level({ bundle: old, isFetched: false })).toBe(
      "FAIL all X.509 authorities of other.test have expired, the last one TIME",
    );
    expect(level({ isFetched: false })).toBe(
      "WARN the bundle of other.test is good until TIME, and nothing fetches it",
    );
    expect(level({ bundle: Bundle.fromPartial({}) })).toBe(
      "FAIL the bundle of other.test has no X.509 authorities",
    );
  });
});

test("agents that have expired are named, by whether they can join again", () => {
  const agent = (path: string, more: Partial<Agent> = {}): Agent =>
    Agent.fromPartial({
      id: { trustDomain: "example.org", path },
      x509svidExpiresAt: NOW + HOUR,
      agentVersion: "1.0.0",
      ...more,
    });
  const expired = { x509svidExpiresAt: NOW - 1 };
  const lost = ["/a", "/b", "/c", "/d"].map((path) => agent(path, expired));
  expect(
    shown(
      checkAgents(
        [
          agent("/good"),
          agent("/banned", { ...expired, banned: true }),
          ...lost,
          agent("/away", { ...expired, canReattest: true, agentVersion: "" }),
        ],
        NOW,
      ),
    ),
  ).toEqual([
    "OK 6 have joined, 1 are banned; versions: 1.0.0 (5), unknown (1)",
    "WARN 4 have an expired SVID (spiffe://example.org/a, spiffe://example.org/b, spiffe://example.org/c and more), and cannot join again by themselves",
    "WARN 1 have an expired SVID (spiffe://example.org/away); they join again when they run and reach this server",
  ]);
});
