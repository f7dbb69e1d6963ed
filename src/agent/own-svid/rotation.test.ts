import { expect, test } from "bun:test";
import { missesTarget, rotateAt } from "./rotation.ts";

const HOUR = 3600;
const rule = (fraction: number, availabilityTargetSeconds?: number) => ({
  random: { bytes: () => new Uint8Array(), uuid: () => "", fraction: () => fraction },
  ...(availabilityTargetSeconds === undefined ? {} : { availabilityTargetSeconds }),
});
const living = (hours: number) => ({ notBefore: 0, notAfter: hours * HOUR });

test.each([
  ["half of a life", 10, 0.5, undefined, 5],
  ["a tenth of the half later", 10, 0, undefined, 5.5],
  ["a tenth of the half earlier", 10, 1, undefined, 4.5],
  ["an availability target that half a life does not reach", 40, 0.5, 24, 40 - 24 - 5 / 60],
  ["half a life where that comes earlier", 100, 0.5, 24, 50],
  ["half a life where SVIDs are too short for the target", 36, 0.5, 24, 18],
])("%s", (_name, hours, fraction, target, expected) => {
  const targetSeconds = target === undefined ? undefined : target * HOUR;
  expect(rotateAt(living(hours), rule(fraction, targetSeconds))).toBe(Math.floor(expected * HOUR));
});

test("an SVID must live twelve hours longer than it is to be available", () => {
  expect(missesTarget(living(36), rule(0, 24 * HOUR))).toBe(true);
  expect(missesTarget({ notBefore: 0, notAfter: 36 * HOUR + 1 }, rule(0, 24 * HOUR))).toBe(false);
  expect(missesTarget(living(1), rule(0))).toBe(false);
});
