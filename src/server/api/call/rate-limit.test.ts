import { expect, test } from "bun:test";
import type { Clock } from "#clock/clock.ts";
import { RateLimit } from "./rate-limit.ts";

/** A clock that stands still until a sleeper is let go; sleeping moves it on. */
function steppedClock(): Clock & { slept: number[]; nowAt: number } {
  const clock = {
    nowAt: 0,
    slept: [] as number[],
    nowMs: () => clock.nowAt,
    nowSeconds: () => Math.floor(clock.nowAt / 1000),
    monotonicMs: () => clock.nowAt,
    after: () => ({ cancel: () => undefined }),
    sleep: async (milliseconds: number) => {
      clock.slept.push(milliseconds);
    },
  };
  return clock;
}

const never = new AbortController().signal;

test("a bucket lets a burst through and makes the next call wait for its token", async () => {
  const clock = steppedClock();
  const limit = new RateLimit(10, clock);
  await limit.take("10.0.0.1", 10, never);
  expect(clock.slept).toEqual([]);
  await limit.take("10.0.0.1", 1, never);
  await limit.take("10.0.0.1", 1, never);
  expect(clock.slept).toEqual([100, 200]);
});

test("each address has a bucket of its own", async () => {
  const clock = steppedClock();
  const limit = new RateLimit(1, clock);
  await limit.take("10.0.0.1", 1, never);
  await limit.take("10.0.0.2", 1, never);
  expect(clock.slept).toEqual([]);
});

test("time fills a bucket up again, but never above its size", async () => {
  const clock = steppedClock();
  const limit = new RateLimit(2, clock);
  await limit.take("a", 2, never);
  clock.nowAt = 3_600_000;
  await limit.take("a", 2, never);
  expect(clock.slept).toEqual([]);
  await limit.take("a", 1, never);
  expect(clock.slept).toEqual([500]);
});

test("more than a bucket ever holds is refused at once", async () => {
  const limit = new RateLimit(500, steppedClock());
  expect(limit.take("a", 501, never)).rejects.toMatchObject({
    code: 8,
    message: "rate (501) exceeds burst size (500)",
  });
});

test("a caller that goes away while waiting gives its turn back", async () => {
  const clock = steppedClock();
  const limit = new RateLimit(1, clock);
  await limit.take("a", 1, never);
  await expect(limit.take("a", 1, AbortSignal.abort())).rejects.toMatchObject({ code: 1 });
  await limit.take("a", 1, never);
  expect(clock.slept).toEqual([1000, 1000]);
});

test("nobody waits longer than five minutes", async () => {
  const limit = new RateLimit(1, steppedClock());
  const waits = Array.from({ length: 301 }, () => limit.take("a", 1, never));
  await Promise.all(waits);
  expect(limit.take("a", 1, never)).rejects.toMatchObject({ code: 8 });
});
