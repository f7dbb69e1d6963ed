import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { systemRandom } from "#clock/random.ts";
import { createLog } from "#log/log.ts";
import type { NodePruning } from "#server/config/pruning.ts";
import type { DataStore, JoinTokenClaim } from "#server/datastore/datastore.ts";
import { ALL, makeEntry, makeNode } from "#server/datastore/records.conformance.ts";
import { openSqliteDataStore } from "#server/datastore/sqlite/open.ts";
import { emptyBundle } from "#spiffe/bundle.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { startPruning } from "./pruning.ts";

const log = createLog({ level: "error", format: "text" }, () => 0, { write: () => undefined });
const trustDomain = TrustDomain.parse("example.org");
const MINUTE = 60;
const HOUR = 3600;
const NODES: NodePruning = { expiredForSeconds: HOUR, includeTofu: false, batchSize: 1000 };

let clock: ManualClock;
let directory: string;
let store: DataStore;
beforeEach(async () => {
  clock = new ManualClock();
  directory = mkdtempSync(join(tmpdir(), "spire-pruning-"));
  store = await openSqliteDataStore({ path: join(directory, "datastore.sqlite3"), log });
  await store.bundles.create(emptyBundle(trustDomain));
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

/** Prunes for a while, and ends when all that began is done. */
async function pruneFor(seconds: number, nodes?: NodePruning, fraction = 0.5): Promise<void> {
  const random = { ...systemRandom, fraction: () => fraction };
  const tasks = startPruning({ store, trustDomain, nodes, clock, random, log });
  clock.pass(seconds * 1000);
  await setImmediate();
  await Promise.all(tasks.map((task) => task.stop()));
}

async function nodesLeft(): Promise<string[]> {
  const { items } = await store.nodes.list({}, ALL);
  return items.map(({ spiffeId }) => spiffeId.replace(/.*\//, ""));
}

test("entries go within five minutes after they expired, and not before", async () => {
  const now = clock.nowSeconds();
  await store.entries.create([
    makeEntry("lasting"),
    makeEntry("short", { expiresAt: now + 4 * MINUTE }),
    makeEntry("long", { expiresAt: now + 6 * MINUTE }),
  ]);
  await pruneFor(5 * MINUTE - 1);
  expect(await store.entries.count({})).toBe(3);
  await pruneFor(5 * MINUTE);
  expect((await store.entries.list({}, ALL)).items.map(({ id }) => id)).toEqual(["lasting"]);
});

test("join tokens go once they expired, and used ones once their minute is over", async () => {
  const now = clock.nowSeconds();
  const claim = (token: string, at: number): JoinTokenClaim => ({
    token,
    publicKeySha256: new Uint8Array(32),
    now: at,
    usedSince: 0,
  });
  await store.joinTokens.create({ token: "expires", expiresAt: now + MINUTE });
  await store.joinTokens.create({ token: "lasts", expiresAt: now + HOUR });
  await store.joinTokens.create({ token: "used", expiresAt: now + HOUR });
  await store.joinTokens.create({ token: "used-late", expiresAt: now + HOUR });
  await store.joinTokens.join(makeNode("n"), claim("used", now));
  await store.joinTokens.join(makeNode("n"), claim("used-late", now + 4 * MINUTE));
  await pruneFor(5 * MINUTE);
  const left = ["expires", "lasts", "used", "used-late"].map((token) =>
    store.joinTokens.find(claim(token, clock.nowSeconds())),
  );
  expect((await Promise.all(left)).map((found) => found?.token)).toEqual([
    undefined,
    "lasts",
    undefined,
    "used-late",
  ]);
  expect(await nodesLeft()).toEqual(["n"]);
});

test("attested nodes stay for ever unless the configuration says otherwise", async () => {
  await store.nodes.put(makeNode("old", { notAfter: 1, canReattest: true }));
  await pruneFor(24 * HOUR);
  expect(await nodesLeft()).toEqual(["old"]);
});

test("attested nodes go by how long ago they expired; never banned ones, and those that cannot attest again only when asked", async () => {
  const now = clock.nowSeconds();
  const expired = { notAfter: now - 1, canReattest: true };
  await store.nodes.put(makeNode("expired", expired));
  await store.nodes.put(makeNode("recent", { ...expired, notAfter: now }));
  await store.nodes.put(makeNode("banned", { ...expired, serialNumber: "" }));
  await store.nodes.put(makeNode("tofu", { ...expired, canReattest: false }));
  await pruneFor(HOUR, NODES);
  expect(await nodesLeft()).toEqual(["recent", "banned", "tofu"]);
  await pruneFor(HOUR, { ...NODES, includeTofu: true });
  expect(await nodesLeft()).toEqual(["banned"]);
});

test("no more nodes than a batch go in one round", async () => {
  for (const name of ["a", "b", "c"]) {
    await store.nodes.put(makeNode(name, { notAfter: 1, canReattest: true }));
  }
  await pruneFor(HOUR, { ...NODES, batchSize: 2 });
  expect(await nodesLeft()).toEqual(["c"]);
  await pruneFor(HOUR, { ...NODES, batchSize: 2 });
  expect(await nodesLeft()).toEqual([]);
});

test.each([
  [0, 45 * MINUTE],
  [0.5, 60 * MINUTE],
  [1, 75 * MINUTE],
])(
  "with the random fraction %p nodes are looked through every %p seconds",
  async (fraction, every) => {
    await store.nodes.put(makeNode("old", { notAfter: 1, canReattest: true }));
    await pruneFor(every - 1, NODES, fraction);
    expect(await nodesLeft()).toEqual(["old"]);
    await pruneFor(every, NODES, fraction);
    expect(await nodesLeft()).toEqual([]);
  },
);
