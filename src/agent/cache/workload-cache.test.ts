import { describe, expect, test } from "bun:test";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { emptyBundle } from "#spiffe/bundle.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import type { DueSvids } from "./due-svids.ts";
import { WorkloadCache } from "./workload-cache.ts";
import { makeWorkloadEntry as entry } from "./workload-entry.fixture.ts";
import type { WorkloadEntry } from "./workload-entry.ts";
import type { WorkloadX509Svid } from "./x509-svids.ts";

const NOW = 1_800_000_000;
const trustDomain = TrustDomain.parse("example.org");
const never = new AbortController().signal;

const svid = (svidKey: string, more: Partial<WorkloadX509Svid> = {}): WorkloadX509Svid => ({
  chain: [new Uint8Array([1])],
  privateKey: new Uint8Array([2]),
  notAfter: NOW + 3600,
  renewAt: NOW + 1800,
  svidKey,
  signatory: { name: "", keyId: "" },
  ...more,
});

interface Stand {
  readonly cache: WorkloadCache;
  readonly clock: ManualClock;
  issue(...ids: string[]): void;
  /** The IDs of entries due. */
  due(): { urgent: string[]; routine: string[]; nextAt: number };
}

function stand(max: number, ...entries: WorkloadEntry[]): Stand {
  const clock = new ManualClock(NOW);
  const cache = new WorkloadCache({ trustDomain, x509SvidCacheMaxSize: max, clock });
  cache.changeEntries(entries, []);
  const ids = (list: DueSvids["urgent"]): string[] => list.map(({ id }) => id);
  return {
    cache,
    clock,
    issue: (...issued) => cache.setSvids(new Map(issued.map((id) => [id, svid(id)]))),
    due: () => {
      const { urgent, routine, nextAt } = cache.dueForIssue(NOW);
      return { urgent: ids(urgent), routine: ids(routine), nextAt };
    },
  };
}

const selectors = (...users: string[]): Set<string> =>
  new Set(users.map((id) => `unix:user:${id}`));
const letters = ["a", "b", "c", "d"].map((id) => entry(id));

describe("how many X509-SVIDs are kept", () => {
  test("they are issued before anybody asks, up to the limit", () => {
    const { due, issue } = stand(3, ...letters);
    expect(due()).toMatchObject({ urgent: [], routine: ["a", "b", "c"] });
    issue("a", "b");
    expect(due()).toMatchObject({ urgent: [], routine: ["c"] });
  });

  test("what a workload waits for is issued whatever the limit, and nothing else is then", () => {
    const { cache, due } = stand(2, ...letters);
    using _a = cache.subscribe(selectors("a"), "x509-svids");
    using _bc = cache.subscribe(selectors("b", "c"), "x509-svids");
    expect(due()).toMatchObject({ urgent: ["a", "b", "c"], routine: [] });
  });

  test("above the limit the one used longest ago goes, but none that a stream is open for", () => {
    const { cache, issue } = stand(2, ...letters);
    const has = (id: string): boolean => cache.identitiesFor(selectors(id))[0]?.svid !== undefined;
    issue("a", "b");
    using _a = cache.subscribe(selectors("a"), "x509-svids");
    cache.subscribe(selectors("b"), "x509-svids")[Symbol.dispose]();
    issue("c");
    expect(["a", "b", "c"].map(has)).toEqual([true, false, true]);
    using _cd = cache.subscribe(selectors("c", "d"), "x509-svids");
    issue("d");
    expect(["a", "c", "d"].map(has)).toEqual([true, true, true]);
    _cd[Symbol.dispose]();
    expect(cache.svidCount).toBe(2);
    expect(has("a")).toBe(true);
  });

  test("whoever comes again makes his SVID one of those used last", () => {
    const { cache, issue } = stand(2, ...letters);
    issue("a", "b");
    cache.subscribe(selectors("a"), "x509-svids")[Symbol.dispose]();
    issue("c");
    expect(cache.identitiesFor(selectors("a"))[0]?.svid).toBeDefined();
    expect(cache.identitiesFor(selectors("b"))[0]?.svid).toBeUndefined();
  });

  test("an entry that is not the workload's any more is not needed for it", () => {
    const { cache, due } = stand(0, entry("a"));
    using _a = cache.subscribe(selectors("a"), "x509-svids");
    expect(due().urgent).toEqual(["a"]);
    cache.changeEntries([entry("a", { revisionNumber: 1, selectors: ["unix:user:b"] })], []);
    expect(due().urgent).toEqual([]);
  });

  test("a stream that hands out bundles alone needs no SVID", () => {
    const { cache, due } = stand(0, ...letters);
    using _a = cache.subscribe(selectors("a"), "bundles");
    expect(due()).toMatchObject({ urgent: [], routine: [] });
  });

  test("an entry that is not prefetched is issued on demand, and renewed only for as long as it is in demand", () => {
    const { cache, due } = stand(10, entry("a", { prefetched: false }));
    expect(due()).toMatchObject({ urgent: [], routine: [] });
    const subscription = cache.subscribe(selectors("a"), "x509-svids");
    expect(due()).toMatchObject({ urgent: ["a"] });
    cache.setSvids(new Map([["a", svid("a", { renewAt: NOW })]]));
    expect(due()).toMatchObject({ urgent: [], routine: ["a"] });
    subscription[Symbol.dispose]();
    expect(due()).toEqual({ urgent: [], routine: [], nextAt: NOW + 3600 });
  });

  test("who asks for something that is missing has it made due at once", () => {
    const { cache, issue } = stand(1, ...letters);
    issue("a");
    let calls = 0;
    cache.whenDue(() => calls++);
    using _a = cache.subscribe(selectors("a"), "x509-svids");
    expect(calls).toBe(0);
    using _b = cache.subscribe(selectors("b"), "x509-svids");
    expect(calls).toBe(1);
  });
});

describe("when X509-SVIDs are replaced", () => {
  test("when their time has come, when they name somebody else, and when they are expedited", () => {
    const { cache, due, issue } = stand(10, ...letters);
    issue("a", "b", "c", "d");
    expect(due()).toEqual({ urgent: [], routine: [], nextAt: NOW + 1800 });
    cache.setSvids(new Map([["a", svid("a", { renewAt: NOW })]]));
    cache.changeEntries([entry("b", { revisionNumber: 1, svidKey: "other" })], []);
    expect(cache.expedite(({ svidKey }) => svidKey === "c")).toBe(1);
    expect(due()).toEqual({ urgent: [], routine: ["a", "c", "b"], nextAt: NOW + 1800 });
    expect(cache.identitiesFor(selectors("c"))[0]?.svid).toBeDefined();
    expect(cache.identitiesFor(selectors("b"))[0]?.svid).toBeUndefined();
  });

  test("one whose time is over is not served any more", () => {
    const { cache, due } = stand(10, entry("a"));
    cache.setSvids(new Map([["a", svid("a", { notAfter: NOW + 10, renewAt: NOW + 20 })]]));
    expect(due().nextAt).toBe(NOW + 20);
    cache.dropExpired(NOW + 9);
    expect(cache.svidCount).toBe(1);
    cache.dropExpired(NOW + 10);
    expect(cache.identitiesFor(selectors("a"))[0]?.svid).toBeUndefined();
  });

  test("one whose entry went while it was issued is not kept", () => {
    const { cache, issue } = stand(10, entry("a"));
    cache.changeEntries([], ["a"]);
    issue("a");
    expect(cache.svidCount).toBe(0);
  });
});

describe("who is woken", () => {
  const changed = async (make: (stand: Stand) => void): Promise<string[]> => {
    const whole = stand(
      10,
      entry("a"),
      entry("b", { federatesWith: ["partner.org"] }),
      entry("c", { selectors: ["unix:user:c", "unix:group:c"] }),
    );
    const woken: string[] = [];
    const callers = {
      a: selectors("a"),
      b: selectors("b"),
      "half of c": selectors("c"),
      c: new Set(["unix:user:c", "unix:group:c"]),
    };
    for (const [name, held] of Object.entries(callers)) {
      const subscription = whole.cache.subscribe(held, "x509-svids");
      void subscription.changedSince(subscription.version, never).then(() => woken.push(name));
    }
    make(whole);
    await Bun.sleep(0);
    return woken;
  };
  const bundle = (name: string, sequenceNumber: number) => ({
    ...emptyBundle(TrustDomain.parse(name)),
    sequenceNumber,
  });

  test.each<[string, (stand: Stand) => void, string[]]>([
    ["nobody, where nothing changed", ({ cache }) => cache.setEntries(cache.entries), []],
    ["whose entry is removed", ({ cache }) => cache.changeEntries([], ["a"]), ["a"]],
    ["whose SVID is issued", ({ issue }) => issue("c"), ["c"]],
    [
      "whose entry comes or goes by its selectors",
      ({ cache }) =>
        cache.changeEntries([entry("a", { revisionNumber: 1, selectors: ["unix:user:b"] })], []),
      ["a", "b"],
    ],
    [
      "who federates with a bundle that changed",
      ({ cache }) => cache.setBundle(bundle("partner.org", 1)),
      ["b"],
    ],
    ["nobody for a bundle that nobody has", ({ cache }) => cache.setBundle(bundle("x.org", 1)), []],
    [
      "everybody for our own",
      ({ cache }) => cache.setBundle(bundle("example.org", 1)),
      ["a", "b", "half of c", "c"],
    ],
    [
      "who waits for an SVID, when the server is away",
      ({ cache, issue }) => {
        issue("a", "b");
        cache.isServerAway = true;
      },
      ["a", "b", "c"],
    ],
  ])("%s", async (_name, make, expected) => {
    expect(await changed(make)).toEqual(expected);
  });

  test("who follows all bundles, for any of them and for entries of their own", async () => {
    const { cache } = stand(10, entry("a"));
    using follower = cache.subscribe(selectors("a"), "all-bundles");
    const versionAfter = (make: () => void): number => {
      const { version } = follower;
      make();
      return follower.version - version;
    };
    expect(versionAfter(() => cache.setBundle(bundle("x.org", 1)))).toBe(1);
    expect(versionAfter(() => cache.deleteBundle("x.org"))).toBe(1);
    expect(versionAfter(() => cache.changeEntries([entry("b")], []))).toBe(0);
    expect(versionAfter(() => cache.changeEntries([], ["a"]))).toBe(1);
    // It needs no X509-SVID.
    expect(cache.dueForIssue(NOW).urgent).toEqual([]);
  });

  test("ten thousand streams are not woken in one go", async () => {
    const { cache, clock, issue } = stand(10, entry("a"));
    let woken = 0;
    for (let count = 0; count < 10_000; count++) {
      const subscription = cache.subscribe(selectors("a"), "x509-svids");
      void subscription.changedSince(subscription.version, never).then(() => woken++);
    }
    issue("a");
    await Bun.sleep(0);
    expect(woken).toBeLessThan(1000);
    for (let turn = 0; turn < 100; turn++) clock.pass(0);
    await Bun.sleep(0);
    expect(woken).toBe(10_000);
  });
});

test("a bundle's forms are the same objects for as long as they are the same", () => {
  const { cache } = stand(10);
  const own = { ...emptyBundle(trustDomain), sequenceNumber: 1 };
  cache.setBundle(own);
  const first = cache.ownBundle;
  cache.setBundle({ ...own });
  expect(cache.ownBundle).toBe(first);
  cache.setBundle({ ...own, sequenceNumber: 2 });
  expect(cache.ownBundle).not.toBe(first);
  expect(cache.ownBundle?.x509).toBe(first?.x509 as Uint8Array);
});
