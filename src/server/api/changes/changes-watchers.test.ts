import { beforeEach, describe, expect, test } from "bun:test";
import type { Clock } from "#clock/clock.ts";
import { systemRandom } from "#clock/random.ts";
import type { Change } from "#proto/spire_edge/changes/v1/changes.ts";
import type { DataStoreChange } from "#server/datastore/datastore.ts";
import { makeEntry, makeNode } from "#server/datastore/records.conformance.ts";
import type { Touched } from "#server/entries/touched-agents.ts";
import { Watchers } from "./changes-watchers.ts";

const AGENT = makeNode("a").spiffeId;
const NOW = 1_000;

/** Time that stands still until it is told to go on; each look at the duration clock takes as long as `lookMs` says. */
class SteppedClock implements Clock {
  lookMs = 0;
  #now = NOW * 1000;
  #timers: { at: number; run: () => void }[] = [];

  nowMs(): number {
    return this.#now;
  }
  nowSeconds(): number {
    return this.#now / 1000;
  }
  monotonicMs(): number {
    this.#now += this.lookMs;
    return this.#now;
  }
  after(milliseconds: number, run: () => void) {
    const timer = { at: this.#now + milliseconds, run };
    this.#timers.push(timer);
    const cancel = (): void => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
    return { cancel };
  }
  sleep(): Promise<void> {
    throw new Error("nobody sleeps here");
  }

  /** When the timers are due, in milliseconds from now. */
  get due(): number[] {
    return this.#timers.map(({ at }) => at - this.#now);
  }
  forward(milliseconds: number): void {
    this.#now += milliseconds;
    const due = this.#timers.filter(({ at }) => at <= this.#now);
    this.#timers = this.#timers.filter(({ at }) => at > this.#now);
    for (const { run } of due) run();
  }
}

/** What the registry tells, said by hand; every agent has every entry but those called `gone`. */
class Registry {
  readonly touchedListeners: Set<(touched: Touched) => void> = new Set();
  readonly changeListeners: Set<(change: DataStoreChange) => void> = new Set();
  revisionNumber = 0;

  authorizedEntry(_agentId: string, entryId: string) {
    const { revisionNumber } = this;
    return entryId.startsWith("gone") ? undefined : makeEntry(entryId, { revisionNumber });
  }
  onTouched(listener: (touched: Touched) => void) {
    this.touchedListeners.add(listener);
    return () => void this.touchedListeners.delete(listener);
  }
  onChange(listener: (change: DataStoreChange) => void) {
    this.changeListeners.add(listener);
    return () => void this.changeListeners.delete(listener);
  }

  touch(...entryIds: string[]): void {
    const touched = { entries: new Map([[new Set([AGENT]), entryIds]]), everything: new Set([]) };
    for (const listener of this.touchedListeners) listener(touched as unknown as Touched);
  }
  change(part: Partial<DataStoreChange>): void {
    const none = { stored: [], removed: [] };
    const change = {
      entries: none,
      nodes: none,
      bundles: [],
      federationRelationships: [],
      ...part,
    };
    for (const listener of this.changeListeners) listener(change);
  }
}

let clock: SteppedClock;
let registry: Registry;
let watchers: Watchers;
beforeEach(() => {
  clock = new SteppedClock();
  registry = new Registry();
  watchers = new Watchers({ registry, clock, random: { ...systemRandom, fraction: () => 1 } });
});

/** A watch that takes a message when `taken` says so; by default at once. */
function open(given: { agentId?: string; notAfter?: number; taken?: () => Promise<void> } = {}) {
  const heard: Change[] = [];
  const agent = {
    id: given.agentId ?? AGENT,
    serialNumber: "1234",
    notAfter: given.notAfter ?? NOW + 3600,
  };
  const watch = watchers.open(agent, async (change) => {
    heard.push(change);
    await given.taken?.();
  });
  let over = false;
  const note = (): void => {
    over = true;
  };
  void watch.ended.then(note, note);
  const isOver = async (): Promise<boolean> => {
    await settled();
    return over;
  };
  return { watch, heard, isOver };
}

const settled = async (): Promise<void> => {
  for (let n = 0; n < 20; n++) await Promise.resolve();
};
const shortly = ({ everything, storedEntries, removedEntryIds, changedBundles }: Change) =>
  everything
    ? "everything"
    : [...storedEntries.map(({ id }) => id), ...removedEntryIds, ...changedBundles];

async function started(given: Parameters<typeof open>[0] = {}) {
  const opened = open(given);
  opened.watch.start();
  await settled();
  return opened;
}

describe("a watcher hears", () => {
  test("first that everything may have changed, whatever came before, and then what changes", async () => {
    const { watch, heard } = open();
    registry.touch("early");
    await settled();
    expect(heard).toEqual([]);
    watch.start();
    await settled();
    registry.touch("e", "gone");
    await settled();
    expect(heard.map(shortly)).toEqual(["everything", ["e", "gone"]]);
    expect(heard[1]).toMatchObject({ storedEntries: [{ id: "e" }], removedEntryIds: ["gone"] });
  });

  test("while it is slow, the last state of everything in one message", async () => {
    const taken = Promise.withResolvers<void>();
    const { heard } = await started({ taken: () => taken.promise });
    for (registry.revisionNumber = 1; registry.revisionNumber < 5; registry.revisionNumber++) {
      registry.touch("e");
      registry.change({ bundles: ["other.org"] });
    }
    await settled();
    expect(heard.map(shortly)).toEqual(["everything"]);
    taken.resolve();
    await settled();
    expect(heard.map(shortly)).toEqual(["everything", ["e", "other.org"]]);
    expect(heard[1]?.storedEntries[0]?.revisionNumber).toBe(5);
  });

  test("nothing that is meant for others", async () => {
    const { heard } = await started({ agentId: makeNode("b").spiffeId });
    registry.touch("e");
    await settled();
    expect(heard.map(shortly)).toEqual(["everything"]);
  });
});

test("when many are to hear of a bundle, they do so a few in each turn", async () => {
  const watches = await Promise.all(
    Array.from({ length: 10 }, (_, n) => started({ agentId: makeNode(`n${n}`).spiffeId })),
  );
  const told = (): number => watches.filter(({ heard }) => heard.length === 2).length;
  clock.lookMs = 2;
  registry.change({ bundles: ["example.org"] });
  await settled();
  expect(told()).toBe(3);
  clock.forward(0);
  await settled();
  expect(told()).toBe(6);
  clock.lookMs = 0;
  clock.forward(0);
  await settled();
  expect(told()).toBe(10);
});

describe("a watch ends", () => {
  test("when it is old enough, a little before its connection is, and with its certificate", async () => {
    const [old, expiring] = [await started(), await started({ notAfter: NOW + 100 })];
    expect(clock.due).toEqual([165_000, 100_000]);
    clock.forward(100_000);
    expect([await old.isOver(), await expiring.isOver()]).toEqual([false, true]);
    clock.forward(65_000);
    expect(await old.isOver()).toBe(true);
    expect(clock.due).toEqual([]);
  });

  test.each([
    ["is banned", { stored: [makeNode("a", { serialNumber: "" })], removed: [] }, true],
    ["has another SVID", { stored: [makeNode("a", { serialNumber: "9" })], removed: [] }, true],
    ["is removed", { stored: [], removed: [AGENT] }, true],
    ["is renewed", { stored: [makeNode("a", { newSerialNumber: "9" })], removed: [] }, false],
    ["is somebody else", { stored: [makeNode("b", { serialNumber: "" })], removed: [] }, false],
  ])("or not, when the node %s", async (_, nodes, over) => {
    const { isOver } = await started();
    registry.change({ nodes });
    expect(await isOver()).toBe(over);
  });

  test("when its agent opens a fifth", async () => {
    const watches = [];
    for (let n = 0; n < 5; n++) watches.push(await started());
    const other = await started({ agentId: makeNode("b").spiffeId });
    expect(await Promise.all([...watches, other].map(({ isOver }) => isOver()))).toEqual([
      true,
      false,
      false,
      false,
      false,
      false,
    ]);
  });

  test("when the server stops, and none begins any more", async () => {
    const { isOver } = await started();
    watchers.close();
    expect(await isOver()).toBe(true);
    expect(() => open()).toThrow("the server is stopping");
    expect(registry.touchedListeners.size + registry.changeListeners.size).toBe(0);
  });

  test("when a message cannot be sent, with the reason", async () => {
    const failed = Promise.withResolvers<void>();
    const { watch } = open({ taken: () => failed.promise });
    watch.start();
    await settled();
    failed.reject(new Error("no way"));
    const outcome = await watch.ended.then(
      () => "ended",
      (error: Error) => error.message,
    );
    expect(outcome).toBe("no way");
  });
});
