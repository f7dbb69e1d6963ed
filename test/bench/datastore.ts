/**
 * Measures the SQLite store by ratios, which hold on any machine, and ends with 1 when one is out of bounds.
 *
 *   bun test/bench/datastore.ts [ENTRIES]      default 100000
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog, stdoutSink } from "#log/log.ts";
import type { DataStore, EntryFilter } from "#server/datastore/datastore.ts";
import { makeEntry, makeNode } from "#server/datastore/records.conformance.ts";
import { openSqliteDataStore } from "#server/datastore/sqlite/open.ts";
import { EntryRegistry } from "#server/entries/registry.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";

const BATCH = 500;
const PAGE = { size: 500, token: "" };
const total = Number(process.argv[2] ?? 100_000);
const directory = mkdtempSync(join(tmpdir(), "spire-bench-"));
const log = createLog({ level: "error", format: "text" }, Date.now, stdoutSink);
let outOfBounds = false;

/** Entry n of the fleet: 100 workloads a node, one selector shared by all, one by a hundredth, one of its own. */
function fleetEntry(n: number): RegistrationEntry {
  return makeEntry(`entry-${n}`, {
    parentId: SpiffeId.parse(`spiffe://example.org/spire/agent/node-${Math.floor(n / 100)}`),
    spiffeId: SpiffeId.parse(`spiffe://example.org/workload/${n}`),
    selectors: [
      { type: "unix", value: "group:all" },
      { type: "unix", value: `gid:${n % 100}` },
      { type: "unix", value: `uid:${n}` },
    ],
  });
}

const range = (from: number, length: number): RegistrationEntry[] =>
  Array.from({ length }, (_, i) => fleetEntry(from + i));

async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** The longest the event loop was kept from running while the work went on. */
async function longestBlock(work: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  let last = performance.now();
  const look = (): void => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  };
  const timer = setInterval(look, 1);
  await work();
  look();
  clearInterval(timer);
  return longest;
}

function report(what: string, value: number, bound?: { min?: number; max?: number }): void {
  const bad = value < (bound?.min ?? -Infinity) || value > (bound?.max ?? Infinity);
  outOfBounds ||= bad;
  const limits = bound ? `  (bound ${JSON.stringify(bound)}${bad ? ", OUT OF BOUNDS" : ""})` : "";
  console.log(`${what.padEnd(64)} ${value.toFixed(2)}${limits}`);
}

async function measureWrites(store: DataStore): Promise<void> {
  let next = 10_000_000;
  const one = async (): Promise<void> => {
    await store.entries.create([fleetEntry(next++)]);
  };
  for (let i = 0; i < 100; i++) await one();
  const alone = await milliseconds(async () => {
    for (let i = 0; i < BATCH; i++) await one();
  });
  const together = await milliseconds(() => Promise.all(Array.from({ length: BATCH }, one)));
  const batch = range(next, BATCH);
  const inOne = await milliseconds(() => store.entries.create(batch));
  report("one create after the other, ms each", alone / BATCH);
  report(`${BATCH} creates at once, ms each`, together / BATCH);
  report(`one batch of ${BATCH}, ms each`, inOne / BATCH);
  report("at once is faster than one after the other, times", alone / together, { min: 2 });
  const blocked = await longestBlock(() => store.entries.create(range(next + BATCH, BATCH)));
  report(`longest block of the event loop by a batch of ${BATCH}, ms`, blocked, { max: 20 });
}

const FILTERS: readonly [string, EntryFilter][] = [
  ["exact selectors", selectors("exact", ["group:all", "gid:7", "uid:107"])],
  ["superset of a selector of its own", selectors("superset", ["uid:107"])],
  ["any of two selectors of their own", selectors("any", ["uid:107", "uid:8"])],
  ["subset", selectors("subset", ["uid:107", "uid:8"])],
  ["parent", { parentId: "spiffe://example.org/spire/agent/node-3" }],
  ["SPIFFE ID", { spiffeId: "spiffe://example.org/workload/107" }],
  ["superset of a selector all have, one page", selectors("superset", ["group:all"])],
];

function selectors(match: "exact" | "subset" | "superset" | "any", values: string[]): EntryFilter {
  return { selectors: { match, selectors: values.map((value) => ({ type: "unix", value })) } };
}

async function measureLists(store: DataStore): Promise<Map<string, number>> {
  const result = new Map<string, number>();
  for (const [name, filter] of FILTERS) {
    const times: number[] = [];
    for (let i = 0; i < 9; i++) {
      times.push(await milliseconds(() => store.entries.list(filter, PAGE)));
    }
    result.set(name, times.sort((a, b) => a - b)[4] ?? 0);
  }
  return result;
}

async function measureAtScale(store: DataStore): Promise<void> {
  await store.entries.create(range(0, 1000));
  const few = await measureLists(store);
  const filling = await milliseconds(async () => {
    for (let n = 1000; n < total; n += BATCH) await store.entries.create(range(n, BATCH));
  });
  report(`filling up to ${total} entries, entries a second`, ((total - 1000) / filling) * 1000);
  for (const [name, many] of await measureLists(store)) {
    const before = few.get(name) ?? 0;
    report(`list by ${name}: ms with ${total}`, many);
    const shared = name.startsWith("superset of a selector all have");
    if (!shared) report("  … times the cost with 1000", many / before, { max: 8 });
  }
  const again = range(1000, BATCH);
  report(
    `finding ${BATCH} similar entries, ms each`,
    (await milliseconds(() => store.entries.create(again))) / BATCH,
  );
  const shared = selectors("superset", ["group:all"]);
  const everything = { size: 0, token: "" };
  for (const [what, work] of [
    ["listing all", () => store.entries.list({}, everything)],
    ["listing by a selector all have", () => store.entries.list(shared, everything)],
    ["counting by a selector all have", () => store.entries.count(shared)],
  ] as const) {
    report(`longest block of the event loop by ${what}, ms`, await longestBlock(work), { max: 20 });
  }
}

async function measureRegistry(store: DataStore): Promise<void> {
  await store.nodes.put(makeNode("node-3"));
  Bun.gc(true);
  const before = process.memoryUsage().heapUsed;
  const start = performance.now();
  const registry = await EntryRegistry.open(store, TrustDomain.parse("example.org"));
  report("registry: reading all, ms", performance.now() - start);
  Bun.gc(true);
  report("registry: memory, MB", (process.memoryUsage().heapUsed - before) / 2 ** 20);
  const runs = 1000;
  const asked = performance.now();
  for (let i = 0; i < runs; i++) registry.authorizedEntries(makeNode("node-3").spiffeId);
  report("registry: the 100 entries of an agent, µs", ((performance.now() - asked) / runs) * 1000);
}

try {
  const path = join(directory, "datastore.sqlite3");
  let store = await openSqliteDataStore({ path, log });
  await measureAtScale(store);
  await measureWrites(store);
  await store.close();
  const opening = await milliseconds(async () => {
    store = await openSqliteDataStore({ path, log });
  });
  report("opening with quick_check, ms", opening);
  await measureRegistry(store);
  await store.close();
} finally {
  rmSync(directory, { recursive: true, force: true });
}
process.exitCode = outOfBounds ? 1 : 0;
