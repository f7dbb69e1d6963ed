import { expect, test } from "bun:test";
import { makeWorkloadEntry as entry } from "#agent/cache/workload-entry.fixture.ts";
import { BatchNewX509SVIDResponse } from "#proto/spire/api/server/svid/v1/svid.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { parseCsr } from "#x509/csr.ts";
import { make, NOW } from "#x509/pki.fixture.ts";
import { until } from "./server.fixture.ts";
import {
  type Answer,
  authority,
  pauseOf,
  selectors,
  sign,
  stand,
  trustDomain,
} from "./svid-issuer.fixture.ts";

test("a workload that waits is not held up by SVIDs that are prefetched", async () => {
  const gate = Promise.withResolvers<void>();
  const slow = Array.from({ length: 20 }, (_, index) => entry(`slow${index}`));
  await using one = await stand(async (request) => {
    if (request.params.length > 1) await gate.promise;
    return sign(request);
  }, slow);
  await until(() => one.calls.length === 1);
  one.cache.changeEntries([entry("urgent", { prefetched: false })], []);
  // Asked for already: it is not asked for once more.
  using _slow = one.cache.subscribe(selectors("slow0"), "x509-svids");
  using _urgent = one.cache.subscribe(selectors("urgent"), "x509-svids");
  await until(() => one.svidOf("urgent") !== undefined);
  expect(one.cache.svidCount).toBe(1);
  gate.resolve();
  await until(() => one.cache.svidCount === 21);
  expect(one.calls.map(({ length }) => length)).toEqual([20, 1]);
});

test("no more than five hundred are asked for at once, and none twice", async () => {
  const many = Array.from({ length: 700 }, (_, index) => entry(`e${index}`));
  await using one = await stand(async ({ params }) => {
    return BatchNewX509SVIDResponse.fromPartial({ results: params.map(() => ({})) });
  }, many);
  await until(() => one.calls.length === 2);
  expect(one.calls.map(({ length }) => length)).toEqual([500, 200]);
  expect(new Set(one.calls.flat()).size).toBe(700);
});

test("an entry the server refuses is asked for ever less often, until it changes", async () => {
  await using one = await stand(
    (request) => sign(request, (id) => id === "b"),
    [entry("a"), entry("b")],
  );
  for (const pause of [500, 750, 1125]) {
    expect(await pauseOf(one.clock)).toBe(pause);
    one.clock.pass(pause);
    await until(() => one.calls.length > 1);
    one.calls.splice(1);
  }
  expect(one.svidOf("a")).toBeDefined();
  expect(one.calls).toEqual([["a", "b"]]);
  one.cache.changeEntries([entry("b", { revisionNumber: 1 })], []);
  await until(() => one.calls.length === 2);
});

test("a call that fails is repeated after growing pauses; a server that is back is asked at once", async () => {
  let failures = 0;
  await using one = await stand(
    async (request) => {
      if (failures < 3) {
        failures++;
        throw new StatusError(StatusCode.UNAVAILABLE, "not now");
      }
      return sign(request);
    },
    [entry("a")],
  );
  await until(() => failures === 1);
  expect(await pauseOf(one.clock)).toBe(500);
  one.clock.pass(500);
  await until(() => failures === 2);
  expect(await pauseOf(one.clock)).toBe(750);
  one.issuer.retry();
  await until(() => failures === 3);
  expect(await pauseOf(one.clock)).toBe(500);
  one.clock.pass(500);
  await until(() => one.svidOf("a") !== undefined);
});

test("whoever asks is told why an SVID is not there, until it is", async () => {
  let answer: Answer = async () => {
    throw new StatusError(StatusCode.UNAVAILABLE, "not now");
  };
  const [a, b] = [entry("a"), entry("b")];
  await using one = await stand((request) => answer(request), [a, b]);
  await until(() => one.calls.length === 1);
  expect(one.issuer.issuanceStatus(a)).toEqual({ isUnderWay: true });
  await pauseOf(one.clock);
  const failure = { error: "not now", failedAt: NOW, retryAt: NOW + 1 };
  expect(one.issuer.issuanceStatus(a)).toEqual({ isUnderWay: false, failure });
  answer = (request) => sign(request, (id) => id === "b");
  one.clock.pass(500);
  await until(() => one.svidOf("a") !== undefined);
  expect(one.issuer.issuanceStatus(a)).toEqual({ isUnderWay: false });
  expect(one.issuer.issuanceStatus(b).failure?.error).toBe("no entry");
  expect(one.issuer.issuanceStatus({ ...b, revisionNumber: 1 })).toEqual({ isUnderWay: false });
});

test("a server that does not manage is asked for fewer at a time, then for more again", async () => {
  let isSlow = true;
  const four = ["a", "b", "c", "d"].map((id) => entry(id));
  const hundreds = Array.from({ length: 300 }, (_, index) => entry(`e${index}`));
  await using one = await stand(
    async (request) => {
      if (isSlow) throw new StatusError(StatusCode.DEADLINE_EXCEEDED, "too much");
      return BatchNewX509SVIDResponse.fromPartial({ results: request.params.map(() => ({})) });
    },
    [...four, ...hundreds],
  );
  await until(() => one.calls.length === 1);
  isSlow = false;
  one.clock.pass(await pauseOf(one.clock));
  await until(() => one.calls.length === 3);
  expect(one.calls.map(({ length }) => length)).toEqual([304, 250, 54]);
});

test("an SVID for another key or name is not taken", async () => {
  const names = ["spiffe://example.org/other", "spiffe://example.org/a"];
  await using one = await stand(
    async ({ params }) => {
      const uri = names.shift() ?? "";
      const request = parseCsr(params[0]?.csr ?? new Uint8Array());
      const key = names.length > 0 ? { publicKeySpki: request.publicKeySpki } : {};
      const { certificate } = await make({ name: "w", issuer: authority, uri, ...key });
      return BatchNewX509SVIDResponse.fromPartial({
        results: [{ svid: { certChain: [certificate.der] } }],
      });
    },
    [entry("a")],
  );
  await until(() => one.calls.length === 1);
  one.clock.pass(await pauseOf(one.clock));
  await until(() => one.calls.length === 2);
  expect(await pauseOf(one.clock)).toBe(750);
  expect(one.svidOf("a")).toBeUndefined();
});

test("an SVID is replaced at half of its life, and the old one is served until then", async () => {
  await using one = await stand((request) => sign(request), [entry("a")]);
  await until(() => one.svidOf("a") !== undefined);
  const first = one.svidOf("a");
  expect(first?.renewAt).toBe(NOW - 60 + 3660 / 2);
  one.clock.pass(1740 * 1000);
  await until(() => one.calls.length === 1);
  expect(one.svidOf("a")).toBe(first);
  one.clock.pass(30_000);
  await until(() => one.svidOf("a") !== first);
});

test("an SVID that begins later waits while the one before it is good", async () => {
  let validity = {};
  await using one = await stand((request) => sign(request, () => false, validity), [entry("a")]);
  await until(() => one.svidOf("a") !== undefined);
  const first = one.svidOf("a");
  validity = { notBefore: NOW + 2000, notAfter: NOW + 6000 };
  one.clock.pass(1800 * 1000);
  await until(() => one.calls.length === 2);
  one.cache.changeEntries([entry("b")], []);
  await until(() => one.svidOf("b") !== undefined);
  expect(one.svidOf("a")).toBe(first);
  one.clock.pass(200 * 1000);
  await until(() => one.svidOf("a") !== first);
  expect(one.svidOf("a")?.notAfter).toBe(NOW + 6000);
  expect(one.calls).toEqual([["a"], ["a"], ["b"]]);
});

test("an SVID that begins later is served when the one before it ends, or is of another name", async () => {
  let validity = {};
  await using one = await stand(
    (request) => sign(request, () => false, validity),
    [entry("a"), entry("b")],
  );
  await until(() => one.cache.svidCount === 2);
  validity = { notBefore: NOW + 9000, notAfter: NOW + 12_000 };
  one.clock.pass(1800 * 1000);
  await until(() => one.calls.length === 2);
  const renamed = SpiffeId.parse("spiffe://example.org/renamed");
  one.cache.changeEntries([entry("b", { spiffeId: renamed, svidKey: "c", revisionNumber: 1 })], []);
  await until(() => one.svidOf("b")?.svidKey === "c");
  one.clock.pass(1800 * 1000);
  await until(() => one.svidOf("a")?.notAfter === NOW + 12_000);
  expect(one.calls).toEqual([["a", "b"], ["a", "b"], ["b"]]);
});

test("an SVID that a tainted authority signed even now does not stay long", async () => {
  await using one = await stand((request) => sign(request), []);
  one.tainted.update({
    trustDomain,
    x509Authorities: [{ certificate: authority.certificate.der, tainted: true }],
    jwtAuthorities: [],
    witAuthorities: [],
    refreshHint: 0,
    sequenceNumber: 0,
  });
  one.cache.changeEntries([entry("a")], []);
  await until(() => one.svidOf("a") !== undefined);
  expect(one.svidOf("a")?.renewAt).toBe(NOW + 30);
});

test("a refusal that is the end ends the work", async () => {
  const refusal = new StatusError(StatusCode.PERMISSION_DENIED, "no");
  await using one = await stand(
    async () => {
      throw refusal;
    },
    [entry("a")],
    {
      onFailure: async (error) => {
        throw error;
      },
    },
  );
  expect(String(await one.running.catch((error: unknown) => error))).toBe(String(refusal));
});
