import { expect, test } from "bun:test";
import { pauseMs, pausesAfterFailures } from "./pace.ts";

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const random = (fraction: number) => ({
  bytes: () => new Uint8Array(),
  uuid: () => "",
  fraction: () => fraction,
});

test.each([
  ["a server that has to be asked, at the interval", 5 * SECOND, false, false, 0.5, 5 * SECOND],
  ["with a tenth of jitter", 5 * SECOND, false, false, 0, 4.5 * SECOND],
  ["at once while there is nothing to serve", HOUR, false, true, 0.5, 5 * SECOND],
  ["but not more often than told to", SECOND, false, true, 0.5, SECOND],
  ["a server that tells, once a minute", 5 * SECOND, true, false, 0.5, 60 * SECOND],
  ["or as seldom as told to", HOUR, true, true, 0.5, HOUR],
])("%s", (_name, interval, isTold, isIdle, fraction, expected) => {
  expect(pauseMs(interval, { isTold, isIdle }, random(fraction))).toBe(expected);
});

test.each([
  [SECOND, SECOND, 48 * SECOND],
  [5 * SECOND, 5 * SECOND, 240 * SECOND],
  [HOUR, 5 * SECOND, 480 * SECOND],
])("after failures, at an interval of %d ms: first %d, at most %d", (interval, first, max) => {
  expect(pausesAfterFailures(interval)).toEqual({ firstPauseMs: first, maxPauseMs: max });
});
