import { expect, test } from "bun:test";
import { WorkloadCache } from "#agent/cache/workload-cache.ts";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { Bundle } from "#proto/spire/api/types/bundle.ts";
import { Entry } from "#proto/spire/api/types/entry.ts";
import { Change } from "#proto/spire_edge/changes/v1/changes.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { noMetrics } from "#telemetry/metrics.ts";
import { CacheUpdates } from "./cache-updates.ts";
import { type Answers, quiet, serve, until } from "./server.fixture.ts";

const trustDomain = TrustDomain.parse("example.org");
const random = { bytes: () => new Uint8Array(), uuid: () => "", fraction: () => 0.5 };

const entry = (id: string, more: Partial<Entry> = {}): Entry =>
  Entry.fromPartial({
    id,
    spiffeId: { trustDomain: "example.org", path: `/${id}` },
    selectors: [{ type: "unix", value: `uid:${id}` }],
    ...more,
  });
const stored = (...storedEntries: Entry[]): Change => Change.fromPartial({ storedEntries });

/** What the server has; and a gate that holds an answer back. */
interface Stand {
  entries: Entry[];
  gate: Promise<void>;
  asked: string[];
}

async function stand(more: Answers["bundle"] = {}) {
  const state: Stand = { entries: [], gate: Promise.resolve(), asked: [] };
  const server = await serve({
    bundle: {
      getBundle: async () => {
        state.asked.push("own");
        return Bundle.fromPartial({
          trustDomain: "example.org",
          sequenceNumber: state.asked.length,
        });
      },
      getFederatedBundle: async ({ trustDomain: name }) => {
        state.asked.push(name);
        return Bundle.fromPartial({ trustDomain: name });
      },
      ...more,
    },
    entry: {
      syncAuthorizedEntries: async (requests, _context, send) => {
        for await (const _request of requests) {
          const { entries } = state;
          state.asked.push("entries");
          await state.gate;
          await send({ entries, entryRevisions: [], more: false });
        }
      },
    },
  });
  const clock = new ManualClock();
  const cache = new WorkloadCache({ trustDomain, x509SvidCacheMaxSize: 1000, clock });
  const missed: string[] = [];
  const updates = new CacheUpdates({
    trustDomain,
    cache,
    link: { clients: server.clients, takeRoots: async () => {} },
    onOwnBundle: () => {},
    onMissed: () => void missed.push("missed"),
    clock,
    random,
    metrics: noMetrics,
    log: quiet,
  });
  return { state, server, clock, cache, updates, missed };
}

const revisions = (cache: WorkloadCache): string[] =>
  [...cache.entries.values()].map(({ id, revisionNumber }) => `${id}@${revisionNumber}`).sort();

test("what is told while everything is being fetched survives the older answer", async () => {
  const { state, server, cache, updates } = await stand();
  await using _server = server;
  state.entries = [entry("1"), entry("2")];
  const gate = Promise.withResolvers<void>();
  state.gate = gate.promise;
  const fetching = updates.fetchAll();
  await until(() => state.asked.includes("entries"));
  updates.apply(stored(entry("1", { revisionNumber: 1 }), entry("3")));
  updates.apply(Change.fromPartial({ removedEntryIds: ["2"] }));
  expect(revisions(cache)).toEqual(["1@1", "3@0"]);
  gate.resolve();
  await fetching;
  expect(revisions(cache)).toEqual(["1@1", "3@0"]);
});

test("an older revision never takes the place of a newer one, but a younger namesake does", async () => {
  const { server, cache, updates } = await stand();
  await using _server = server;
  updates.apply(stored(entry("1", { revisionNumber: 2, createdAt: 10 })));
  updates.apply(stored(entry("1", { revisionNumber: 1, createdAt: 10 })));
  expect(revisions(cache)).toEqual(["1@2"]);
  updates.apply(stored(entry("1", { revisionNumber: 0, createdAt: 11 })));
  expect(revisions(cache)).toEqual(["1@0"]);
  updates.apply(stored(entry("1", { revisionNumber: 1, createdAt: 11, storeSvid: true })));
  expect(revisions(cache)).toEqual([]);
});

test("an entry that makes no sense keeps no other entry from the workloads", async () => {
  const { state, server, cache, updates } = await stand();
  await using _server = server;
  state.entries = [entry("1"), Entry.fromPartial({ id: "2" })];
  await updates.fetchAll();
  expect(revisions(cache)).toEqual(["1@0"]);
});

test("fifty federated bundles that hang hold up no entry, no bundle of our own and not the next round", async () => {
  const hanging = new Set(Array.from({ length: 49 }, (_, index) => `hangs-${index}.org`));
  const { state, server, cache, updates } = await stand({
    getFederatedBundle: async ({ trustDomain: name }, { signal }) => {
      if (hanging.has(name)) {
        await new Promise((gone) => signal.addEventListener("abort", gone, { once: true }));
      }
      return Bundle.fromPartial({ trustDomain: name });
    },
  });
  await using _server = server;
  state.entries = [entry("1", { federatesWith: [...hanging, "answers.org"] })];
  await updates.fetchAll();
  await until(() => cache.bundles.has("answers.org"));
  state.entries = [entry("1", { revisionNumber: 1, federatesWith: [...hanging, "answers.org"] })];
  await updates.fetchAll();
  expect(revisions(cache)).toEqual(["1@1"]);
  expect([...cache.bundles.keys()].sort()).toEqual(["answers.org", "example.org"]);
});

test("only the bundles that changed and are wanted are fetched", async () => {
  const { state, server, cache, updates } = await stand();
  await using _server = server;
  updates.apply(stored(entry("1", { federatesWith: ["a.org", "b.org"] })));
  await until(() => cache.bundles.has("a.org") && cache.bundles.has("b.org"));
  state.asked.length = 0;
  updates.apply(Change.fromPartial({ changedBundles: ["b.org", "stranger.org"] }));
  updates.apply(Change.fromPartial({ changedBundles: ["example.org"] }));
  await until(() => cache.ownBundle !== undefined && state.asked.includes("b.org"));
  expect(state.asked.toSorted()).toEqual(["b.org", "own"]);
  updates.apply(Change.fromPartial({ removedEntryIds: ["1"] }));
  expect([...cache.bundles.keys()]).toEqual(["example.org"]);
});

test("a federated bundle that changes while it is fetched is fetched once more", async () => {
  const gate = Promise.withResolvers<void>();
  let asked = 0;
  const { server, cache, updates } = await stand({
    getFederatedBundle: async ({ trustDomain: name }) => {
      const sequenceNumber = ++asked;
      if (sequenceNumber === 1) await gate.promise;
      return Bundle.fromPartial({ trustDomain: name, sequenceNumber });
    },
  });
  await using _server = server;
  updates.apply(stored(entry("1", { federatesWith: ["a.org"] })));
  await until(() => asked === 1);
  updates.apply(Change.fromPartial({ changedBundles: ["a.org"] }));
  gate.resolve();
  await until(() => cache.bundles.get("a.org")?.bundle.sequenceNumber === 2);
  expect(asked).toBe(2);
});

test("a federated bundle that could not be had is tried again; one that is gone is dropped", async () => {
  const answers = [
    StatusCode.UNAVAILABLE,
    StatusCode.OK,
    StatusCode.UNAVAILABLE,
    StatusCode.NOT_FOUND,
  ];
  const { server, clock, cache, updates } = await stand({
    getFederatedBundle: async ({ trustDomain: name }) => {
      const code = answers.shift() ?? StatusCode.UNAVAILABLE;
      if (code !== StatusCode.OK) throw new StatusError(code, "no bundle");
      return Bundle.fromPartial({ trustDomain: name });
    },
  });
  await using _server = server;
  updates.apply(stored(entry("1", { federatesWith: ["a.org"] })));
  clock.pass(await clock.untilNext());
  await until(() => cache.bundles.has("a.org"));
  updates.apply(Change.fromPartial({ changedBundles: ["a.org"] }));
  await until(() => answers.length === 1);
  const pause = await clock.untilNext();
  expect(cache.bundles.has("a.org")).toBe(true);
  clock.pass(pause);
  await until(() => !cache.bundles.has("a.org"));
});

test("the bundle of another trust domain is not taken for the one asked for", async () => {
  const { server, clock, cache, updates } = await stand({
    getFederatedBundle: async () => Bundle.fromPartial({ trustDomain: "example.org" }),
  });
  await using _server = server;
  updates.apply(stored(entry("1", { federatesWith: ["a.org"] })));
  await clock.untilNext();
  expect(cache.bundles.size).toBe(0);
});

test("however often our own bundle changes while it is fetched, it is fetched once more", async () => {
  const gate = Promise.withResolvers<void>();
  let asked = 0;
  const { server, cache, updates } = await stand({
    getBundle: async () => {
      const sequenceNumber = ++asked;
      await gate.promise;
      return Bundle.fromPartial({ trustDomain: "example.org", sequenceNumber });
    },
  });
  await using _server = server;
  const change = Change.fromPartial({ changedBundles: ["example.org"] });
  updates.apply(change);
  await until(() => asked === 1);
  for (let times = 0; times < 3; times++) updates.apply(change);
  gate.resolve();
  await until(() => cache.ownBundle?.bundle.sequenceNumber === 2);
  await updates.fetchAll();
  expect(asked).toBe(3);
});

test("an own bundle that was told of and cannot be had asks for a whole round", async () => {
  const { server, updates, missed } = await stand({
    getBundle: async () => {
      throw new StatusError(StatusCode.UNAVAILABLE, "no bundle");
    },
  });
  await using _server = server;
  updates.apply(Change.fromPartial({ changedBundles: ["example.org"] }));
  await until(() => missed.length === 1);
});
