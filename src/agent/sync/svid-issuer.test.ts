import { describe, expect, test } from "bun:test";
import type { Identity } from "#agent/cache/subscription.ts";
import { waitsForSvids } from "#agent/cache/waiting.ts";
import { WorkloadCache } from "#agent/cache/workload-cache.ts";
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import {
  type BatchNewX509SVIDRequest,
  BatchNewX509SVIDResponse,
} from "#grpc/gen/spire/api/server/svid/v1/svid.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { noMetrics } from "#telemetry/metrics.ts";
import { parseCsr } from "#x509/csr.ts";
import { make, NOW } from "#x509/pki.fixture.ts";
import { quiet, serve, until } from "./server.fixture.ts";
import type { Connection } from "./server-link.ts";
import { SvidIssuer, type SvidIssuerParts } from "./svid-issuer.ts";
import { TaintedAuthorities } from "./taint.ts";

const trustDomain = TrustDomain.parse("example.org");
const random = { bytes: () => new Uint8Array(), uuid: () => "", fraction: () => 0.5 };
const authority = await make({ name: "authority", isCa: true });

const entry = (id: string, more: Partial<WorkloadEntry> = {}): WorkloadEntry => ({
  id,
  spiffeId: SpiffeId.parse(`spiffe://example.org/${id}`),
  selectors: [`unix:user:${id}`],
  dnsNames: [],
  federatesWith: [],
  hint: "",
  prefetched: true,
  delegable: true,
  jwtSvidsOnce: false,
  createdAt: 0,
  revisionNumber: 0,
  svidKey: id,
  ...more,
});
const never = new AbortController().signal;
const selectors = (id: string): Set<string> => new Set([`unix:user:${id}`]);

/** Signs all requests of a call, but for the entries that it is to refuse. */
async function sign(
  { params }: BatchNewX509SVIDRequest,
  refuses: (id: string) => boolean = () => false,
  validity: { readonly notBefore?: number; readonly notAfter?: number } = {},
  code: StatusCode = StatusCode.NOT_FOUND,
): Promise<BatchNewX509SVIDResponse> {
  const results = await Promise.all(
    params.map(async ({ entryId, csr }) => {
      if (refuses(entryId)) return { status: { code, message: "no entry" } };
      const { publicKeySpki, uriSans } = parseCsr(csr);
      const uri = String(uriSans[0]);
      const wish = { name: "w", issuer: authority, uri, publicKeySpki, ...validity };
      const { certificate } = await make(wish);
      return { svid: { certChain: [certificate.der] } };
    }),
  );
  return BatchNewX509SVIDResponse.fromPartial({ results });
}

/** The pause after a failure: shorter than the sleep of whoever has nothing to do. */
async function pauseOf(clock: ManualClock): Promise<number> {
  for (;;) {
    const next = await clock.untilNext();
    if (next < 5_000) return next;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

type Answer = (request: BatchNewX509SVIDRequest) => Promise<BatchNewX509SVIDResponse>;

/** An issuer at work; ends with the test. */
async function stand(
  answer: Answer,
  entries: WorkloadEntry[],
  more: Partial<SvidIssuerParts> = {},
) {
  const calls: string[][] = [];
  const server = await serve({
    svid: {
      batchNewX509Svid: (request) => {
        calls.push(request.params.map(({ entryId }) => entryId));
        return answer(request);
      },
    },
  });
  const clock = new ManualClock(NOW);
  const cache = new WorkloadCache({ trustDomain, x509SvidCacheMaxSize: 1000, clock });
  cache.changeEntries(entries, []);
  const connection: Connection = {
    clients: server.clients,
    replaced: new AbortController().signal,
  };
  const tainted = new TaintedAuthorities();
  const issuer = new SvidIssuer({
    cache,
    connection: () => connection,
    onFailure: async () => false,
    keyType: "ec-p256",
    rotation: { random },
    tainted,
    clock,
    random,
    metrics: noMetrics,
    log: quiet,
    ...more,
  });
  const stop = new AbortController();
  const running = issuer.run(stop.signal);
  const svidOf = (id: string): Identity["svid"] => cache.identitiesFor(selectors(id))[0]?.svid;
  return {
    calls,
    clock,
    cache,
    issuer,
    tainted,
    running,
    svidOf,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await server[Symbol.asyncDispose]();
      await running.catch(() => {});
    },
  };
}

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

describe("the first answer to a workload", () => {
  /** A workload with an entry that is issued and one that is not. */
  const bad = entry("bad", { selectors: ["unix:user:good"] });
  const mixed = [entry("good"), bad];
  const answering = (code: StatusCode) => (request: BatchNewX509SVIDRequest) =>
    sign(request, (id) => id === "bad", {}, code);

  test("does not wait for an SVID that the server refuses to issue", async () => {
    await using one = await stand(answering(StatusCode.INTERNAL), mixed);
    using workload = one.cache.subscribe(selectors("good"), "x509-svids");
    await until(() => one.cache.hasSvid("good"));
    await until(() => !waitsForSvids(one.cache, workload.identities(), true));
    // Whoever changes the entry is waited for again.
    one.cache.changeEntries([{ ...bad, revisionNumber: 1 }], []);
    expect(waitsForSvids(one.cache, workload.identities(), true)).toBe(true);
  });

  test("tells a stream that waits, when the refusal comes last", async () => {
    await using one = await stand(answering(StatusCode.INTERNAL), mixed);
    using workload = one.cache.subscribe(selectors("good"), "x509-svids");
    while (waitsForSvids(one.cache, workload.identities(), true)) {
      await workload.changedSince(workload.version, never);
    }
    expect(one.cache.hasSvid("good")).toBe(true);
  });

  test("waits where the server does not know the entry yet, and where nothing else is there", async () => {
    await using unknown = await stand(answering(StatusCode.NOT_FOUND), mixed);
    using workload = unknown.cache.subscribe(selectors("good"), "x509-svids");
    await until(() => unknown.issuer.outlook(bad).failure !== undefined);
    expect(unknown.cache.hasSvid("good")).toBe(true);
    expect(waitsForSvids(unknown.cache, workload.identities(), true)).toBe(true);
    await using nothing = await stand(answering(StatusCode.INTERNAL), [bad]);
    using other = nothing.cache.subscribe(selectors("good"), "x509-svids");
    await until(() => nothing.issuer.outlook(bad).failure !== undefined);
    expect(waitsForSvids(nothing.cache, other.identities(), true)).toBe(true);
  });
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
  expect(one.issuer.outlook(a)).toEqual({ isUnderWay: true });
  await pauseOf(one.clock);
  const failure = { error: "not now", failedAt: NOW, retryAt: NOW + 1 };
  expect(one.issuer.outlook(a)).toEqual({ isUnderWay: false, failure });
  answer = (request) => sign(request, (id) => id === "b");
  one.clock.pass(500);
  await until(() => one.svidOf("a") !== undefined);
  expect(one.issuer.outlook(a)).toEqual({ isUnderWay: false });
  expect(one.issuer.outlook(b).failure?.error).toBe("no entry");
  expect(one.issuer.outlook({ ...b, revisionNumber: 1 })).toEqual({ isUnderWay: false });
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
