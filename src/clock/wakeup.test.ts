import { expect, test } from "bun:test";
import { Backoff } from "./backoff.ts";
import { ManualClock } from "./manual-clock.fixture.ts";
import { Wakeup } from "./wakeup.ts";

test("a wait ends when its time is over, when woken, and when it is aborted", async () => {
  const clock = new ManualClock();
  const wakeup = new Wakeup(clock);
  const stop = new AbortController();
  const timed = wakeup.wait(1000, stop.signal);
  clock.pass(1000);
  await timed;
  const woken = wakeup.wait(Number.POSITIVE_INFINITY, stop.signal);
  wakeup.wake();
  await woken;
  const aborted = wakeup.wait(Number.POSITIVE_INFINITY, stop.signal);
  stop.abort();
  await aborted;
  await wakeup.wait(Number.POSITIVE_INFINITY, stop.signal);
});

test("a wake before the wait is not lost, and counts once", async () => {
  const clock = new ManualClock();
  const wakeup = new Wakeup(clock);
  const { signal } = new AbortController();
  wakeup.wake();
  await wakeup.wait(1000, signal);
  let isOver = false;
  const second = wakeup.wait(1000, signal).then(() => {
    isOver = true;
  });
  clock.pass(999);
  await Promise.resolve();
  expect(isOver).toBe(false);
  clock.pass(1);
  await second;
});

test("pauses grow by half up to the longest, and begin anew after a success", () => {
  const random = { bytes: () => new Uint8Array(), uuid: () => "", fraction: () => 0.5 };
  const backoff = new Backoff(1000, 2000, random);
  expect([1, 2, 3, 4].map(() => backoff.nextMs())).toEqual([1000, 1500, 2000, 2000]);
  backoff.reset();
  expect(backoff.nextMs()).toBe(1000);
  const jittered = new Backoff(1000, 2000, { ...random, fraction: () => 0 });
  expect(jittered.nextMs()).toBe(900);
});
