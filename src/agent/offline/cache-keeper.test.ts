import { expect, test } from "bun:test";
import { WorkloadCache } from "#agent/cache/workload-cache.ts";
import { makeWorkloadEntry } from "#agent/cache/workload-entry.fixture.ts";
import type { WorkloadX509Svid } from "#agent/cache/x509-svids.ts";
import { type Clock, systemClock } from "#clock/clock.ts";
import { createLog } from "#log/log.ts";
import { emptyBundle } from "#spiffe/bundle.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { CacheKeeper, type Owner } from "./cache-keeper.ts";
import { decodeSnapshot } from "./snapshot.ts";
import type { SnapshotStore } from "./snapshot-store.ts";

const NOW = 1_700_000_000;
const OWNER: Owner = { trustDomain: "example.org", agentId: "spiffe://example.org/spire/agent/a" };
const entry = (id: string) => makeWorkloadEntry(id, { selectors: ["unix:uid:1"] });
const svid = (id: string, notAfter: number): WorkloadX509Svid => ({
  chain: [Uint8Array.of(1)],
  privateKey: Uint8Array.of(2),
  notAfter,
  renewAt: notAfter - 10,
  svidKey: id,
  signatory: { name: "", keyId: "" },
});

/** A store in this process, with what was written to it; it can be made to fail. */
class Memory implements SnapshotStore {
  readonly place = "memory";
  written: Uint8Array[] = [];
  cleared = 0;
  full = false;

  load = async (): Promise<readonly Uint8Array[]> => this.written;
  replace = async (snapshot: Uint8Array): Promise<void> => {
    if (this.full) throw new Error("no space left");
    this.written.push(Uint8Array.from(snapshot));
  };
  clear = async (): Promise<void> => {
    this.cleared++;
    this.written = [];
  };
}

/** A clock whose long sleeps last until they are ended by hand. */
class HandClock {
  readonly sleeps: { readonly milliseconds: number; readonly end: () => void }[] = [];
  monotonicMs = 0;
  readonly clock: Clock = {
    ...systemClock,
    nowSeconds: () => NOW,
    monotonicMs: () => this.monotonicMs,
    sleep: (milliseconds, signal) => {
      if (milliseconds === 0) return Promise.resolve();
      const { promise, resolve } = Promise.withResolvers<void>();
      this.sleeps.push({ milliseconds, end: resolve });
      signal?.addEventListener("abort", () => resolve(), { once: true });
      return promise;
    },
  };
}

function stage(store: Memory, owner: () => Owner | undefined = () => OWNER) {
  const cache = new WorkloadCache({
    trustDomain: TrustDomain.parse("example.org"),
    x509SvidCacheMaxSize: 10,
    clock: systemClock,
  });
  const time = new HandClock();
  const lines: string[] = [];
  const log = createLog({ level: "debug", format: "text" }, () => 0, {
    write: (line) => void lines.push(line),
  });
  return {
    cache,
    time,
    lines,
    keeper: new CacheKeeper({ store, cache, owner, clock: time.clock, log }),
  };
}

function fill(cache: WorkloadCache, ...ids: string[]): void {
  cache.setEntries(new Map(ids.map((id) => [id, entry(id)])));
  cache.setSvids(new Map(ids.map((id) => [id, svid(id, NOW + 100)])));
  cache.setBundle(emptyBundle(TrustDomain.parse("example.org")));
}

/** Lets everything run that waits for nothing but its turn. */
const settled = (): Promise<void> => systemClock.sleep(5);

const entriesOf = (bytes: Uint8Array | undefined): string[] => [
  ...decodeSnapshot(bytes ?? new Uint8Array()).content.entries.keys(),
];

test("nothing is kept of an empty cache; changes are kept at once, and later ones after a second together", async () => {
  const store = new Memory();
  const { cache, time, keeper } = stage(store);
  keeper.start();
  await settled();
  expect(store.written).toEqual([]);
  time.sleeps.shift()?.end();
  fill(cache, "a");
  await settled();
  expect(entriesOf(store.written[0])).toEqual(["a"]);
  fill(cache, "a", "b");
  fill(cache, "a", "b", "c");
  await settled();
  expect(store.written).toHaveLength(1);
  const pause = time.sleeps.shift();
  expect(pause?.milliseconds).toBe(1000);
  pause?.end();
  await settled();
  expect(store.written).toHaveLength(2);
  expect(entriesOf(store.written[1])).toEqual(["a", "b", "c"]);
  await keeper.stop();
  expect(store.written).toHaveLength(2);
});

test.each<[string, (cache: WorkloadCache) => void, string[]]>([
  ["an entry that is removed", (cache) => fill(cache, "a"), ["a"]],
  [
    "an entry that becomes another",
    (cache) => cache.changeEntries([{ ...entry("b"), revisionNumber: 1 }], []),
    ["a", "b"],
  ],
  [
    "a bundle that becomes another",
    (cache) =>
      cache.setBundle({ ...emptyBundle(TrustDomain.parse("example.org")), sequenceNumber: 1 }),
    ["a", "b"],
  ],
])("%s is kept at once", async (_name, make, left) => {
  const store = new Memory();
  const { cache, keeper } = stage(store);
  fill(cache, "a", "b");
  keeper.start();
  await settled();
  expect(store.written).toHaveLength(1);
  make(cache);
  await settled();
  expect(store.written).toHaveLength(2);
  expect(entriesOf(store.written[1])).toEqual(left);
  await keeper.stop();
});

test("what takes long to keep is kept less often", async () => {
  const store = new Memory();
  const { cache, time, keeper } = stage(store);
  const { replace } = store;
  store.replace = (snapshot) => {
    time.monotonicMs += 400;
    return replace(snapshot);
  };
  fill(cache, "a");
  keeper.start();
  await settled();
  expect(time.sleeps[0]?.milliseconds).toBe(8000);
  await keeper.stop();
});

test("a change in the last second is kept when the agent stops", async () => {
  const store = new Memory();
  const { cache, keeper } = stage(store);
  fill(cache, "a");
  keeper.start();
  await settled();
  fill(cache, "a", "b");
  await keeper.stop();
  expect(entriesOf(store.written.at(-1))).toEqual(["a", "b"]);
});

test("of several snapshots the newest of this agent comes back, without the SVIDs that have expired", async () => {
  const store = new Memory();
  const before = stage(store);
  fill(before.cache, "old");
  before.keeper.start();
  await settled();
  fill(before.cache, "valid", "expired");
  before.cache.setSvids(new Map([["expired", svid("expired", NOW)]]));
  await before.keeper.stop();
  const other = stage(store, () => ({ ...OWNER, agentId: `${OWNER.agentId}b` }));
  fill(other.cache, "foreign");
  expect(await other.keeper.restore()).toBe(false);
  expect(other.lines.join("")).toContain("of another agent");
  await other.keeper.stop();
  store.written.reverse();
  store.written.push(Buffer.from("no snapshot at all"));
  expect(store.written).toHaveLength(4);

  const { cache, keeper, lines } = stage(store);
  expect(await keeper.restore()).toBe(true);
  expect([...cache.entries.keys()]).toEqual(["valid", "expired"]);
  expect([...cache.content().svids.keys()]).toEqual(["valid"]);
  expect(cache.isFilled).toBe(true);
  expect(lines.join("")).toContain("Ignoring the saved workload cache");
  expect(lines.join("")).toContain("expired_svids=1");

  // What comes now is newer than everything that was there, the other agent's included.
  fill(cache, "next");
  await keeper.stop();
  const sequences = store.written.slice(0, 3).map((bytes) => decodeSnapshot(bytes).header.sequence);
  const latest = decodeSnapshot(store.written.at(-1) ?? new Uint8Array()).header.sequence;
  expect(latest).toBeGreaterThan(Math.max(...sequences));
});

test("an agent that is nobody any more leaves nothing behind", async () => {
  const store = new Memory();
  let owner: Owner | undefined = OWNER;
  const { cache, keeper } = stage(store, () => owner);
  fill(cache, "a");
  keeper.start();
  await settled();
  expect(store.written).toHaveLength(1);
  owner = undefined;
  await keeper.stop();
  expect(store.written).toEqual([]);
});

test("a place that is full is told of once, and tried again", async () => {
  const store = new Memory();
  store.full = true;
  const { cache, time, keeper, lines } = stage(store);
  fill(cache, "a");
  keeper.start();
  for (let round = 0; round < 3; round++) {
    await settled();
    const pause = time.sleeps.shift();
    expect(pause?.milliseconds).toBe(10_000);
    if (round === 2) store.full = false;
    pause?.end();
  }
  await settled();
  expect(entriesOf(store.written[0])).toEqual(["a"]);
  expect(lines.filter((line) => line.includes("no space left"))).toHaveLength(1);
  await keeper.stop();
});
