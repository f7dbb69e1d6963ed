/**
 * Measures what a change costs the server while a fleet watches: it must depend on how many agents it touches, not on how many
 * watch or how many entries there are. Ends with 1 when a ratio is out of bounds.
 *
 *   bun test/bench/propagation-cost.ts [AGENTS]      default 10000, with as many entries
 */
import { systemClock } from "#clock/clock.ts";
import { systemRandom } from "#clock/random.ts";
import { Change } from "#proto/spire_edge/changes/v1/changes.ts";
import { Watchers } from "#server/api/changes/changes-watchers.ts";
import type { DataStore, DataStoreChange } from "#server/datastore/datastore.ts";
import { makeEntry, makeNode } from "#server/datastore/records.conformance.ts";
import { EntryRegistry } from "#server/entries/registry.ts";
import type { RegistrationEntry } from "#spiffe/registration-entry.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";

const agents = Number(process.argv[2] ?? 10_000);
const id = (path: string): SpiffeId => SpiffeId.parse(`spiffe://example.org${path}`);
const SERVER = id("/spire/server");
const everybody = { type: "fleet", value: "all" };
const node = (n: number) => makeNode(`n${n}`, { selectors: [everybody] });
const fleetAlias = (path: string): RegistrationEntry =>
  makeEntry("fleet", { parentId: SERVER, spiffeId: id(path), selectors: [everybody] });
let outOfBounds = false;

/** A fleet in memory: a registry that is fed by hand, and a watcher for each agent that encodes what it is sent. */
async function fleetOf(size: number) {
  const alias = fleetAlias("/fleet");
  const below = (n: number) => makeEntry(`e${n}`, { parentId: SpiffeId.parse(node(n).spiffeId) });
  const numbers = Array.from({ length: size }, (_, n) => n);
  let commit: (change: DataStoreChange) => void = () => undefined;
  const listed = <Item>(items: Item[]) => ({ list: async () => ({ items, nextToken: "" }) });
  const store = {
    nodes: listed(numbers.map(node)),
    entries: listed([alias, ...numbers.map(below)]),
    onChange: (listener: typeof commit) => {
      commit = listener;
    },
  } as unknown as DataStore;
  const registry = await EntryRegistry.open(store, TrustDomain.parse("example.org"));
  const watchers = new Watchers({ registry, clock: systemClock, random: systemRandom });
  const waiting: { messages: number; bytes: number } = { messages: 0, bytes: 0 };
  for (const n of numbers) {
    const agent = { id: node(n).spiffeId, serialNumber: "1234", notAfter: 2 ** 32 };
    const watch = watchers.open(agent, async (change) => {
      waiting.messages++;
      waiting.bytes += Change.encode(change).finish().length;
    });
    watch.start();
  }
  const none = { stored: [], removed: [] };
  const change = (part: Partial<DataStoreChange>): void =>
    commit({ entries: none, nodes: none, bundles: [], federationRelationships: [], ...part });
  /** Makes the change and waits until that many messages were sent. */
  const told = async (messages: number, part: Partial<DataStoreChange>): Promise<void> => {
    waiting.messages = 0;
    change(part);
    while (waiting.messages < messages) await turn();
  };
  while (waiting.messages < size) await turn();
  return { told, waiting, close: () => watchers.close() };
}

let afterTurn: () => void = () => undefined;
async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  afterTurn();
}

const stored = (...entries: RegistrationEntry[]): Partial<DataStoreChange> => ({
  entries: { stored: entries, removed: [] },
});

/** Others use the machine too: what the work costs is what it cost when it was disturbed least. */
const REPEATS = 9;

/** Microseconds of a change that touches one agent: an entry below it, created and removed again. */
async function oneAgent(fleet: Awaited<ReturnType<typeof fleetOf>>): Promise<number> {
  const rounds = 500;
  const entry = makeEntry("new", { parentId: SpiffeId.parse(node(0).spiffeId) });
  let least = Infinity;
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    const start = performance.now();
    for (let n = 0; n < rounds / 2; n++) {
      await fleet.told(1, stored(entry));
      await fleet.told(1, { entries: { stored: [], removed: ["new"] } });
    }
    least = Math.min(least, performance.now() - start);
  }
  return (least / rounds) * 1000;
}

interface Timed {
  readonly all: number;
  readonly longest: number;
}

/** How long the work takes, and the longest the event loop is kept from running by it; milliseconds. */
async function timed(work: (repeat: number) => Promise<void>): Promise<Timed> {
  const runs: Timed[] = [];
  for (let repeat = 0; repeat < REPEATS; repeat++) runs.push(await timedOnce(() => work(repeat)));
  return {
    all: Math.min(...runs.map(({ all }) => all)),
    longest: Math.min(...runs.map(({ longest }) => longest)),
  };
}

async function timedOnce(work: () => Promise<void>): Promise<Timed> {
  let longest = 0;
  let last = performance.now();
  const start = last;
  const look = (): void => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  };
  afterTurn = look;
  await work();
  look();
  afterTurn = () => undefined;
  return { all: performance.now() - start, longest };
}

function report(what: string, value: number, max = Infinity): void {
  const bad = value > max;
  outOfBounds ||= bad;
  const limit = max === Infinity ? "" : `  (bound ${max}${bad ? ", OUT OF BOUNDS" : ""})`;
  console.log(`${what.padEnd(72)} ${value.toFixed(2)}${limit}`);
}

const few = await fleetOf(agents / 100);
const alone = await oneAgent(few);
few.close();
Bun.gc(true);
const before = process.memoryUsage().heapUsed;
const fleet = await fleetOf(agents);
Bun.gc(true);
const heap = process.memoryUsage().heapUsed - before;
report(`${agents} agents, entries and watches: heap each, bytes`, heap / agents);
const among = await oneAgent(fleet);
report(`a change for one agent of ${agents / 100}, µs`, alone);
report(`a change for one agent of ${agents}, µs`, among);
report("  … times that of the small fleet", among / alone, 5);

const forAll = (name: string, count: number): RegistrationEntry[] =>
  Array.from({ length: count }, (_, n) => makeEntry(`${name}-${n}`, { parentId: id("/fleet") }));
const changes: readonly [string, (repeat: number) => Partial<DataStoreChange>][] = [
  ["an entry for all agents", (n) => stored(...forAll(`one-${n}`, 1))],
  ["a batch of 50 entries for all agents", (n) => stored(...forAll(`batch-${n}`, 50))],
  ["a bundle", () => ({ bundles: ["other.org"] })],
  ["the alias of all agents", (n) => stored(fleetAlias(n % 2 === 0 ? "/moved" : "/fleet"))],
];
for (const [what, part] of changes) {
  const { all, longest } = await timed((repeat) => fleet.told(agents, part(repeat)));
  report(`${what}: all told after, ms`, all);
  report("  … longest block of the event loop, ms", longest, 20);
}
fleet.close();
process.exitCode = outOfBounds ? 1 : 0;
