import { expect, test } from "bun:test";
import { emptyBundle } from "#spiffe/bundle.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { jittered, refreshIntervalSeconds } from "./schedule.ts";

test.each([
  [0, 300],
  [1, 15],
  [60, 15],
  [61, 15.25],
  [300, 75],
  [345_600, 86_400],
  [2_419_200, 86_400],
  [Number.MAX_SAFE_INTEGER, 86_400],
])("a hint of %i s means a fetch every %i s", (refreshHint, seconds) => {
  const bundle = { ...emptyBundle(TrustDomain.parse("f.org")), refreshHint };
  expect(refreshIntervalSeconds(bundle)).toBe(seconds);
});

test("without a bundle it is a minute", () => {
  expect(refreshIntervalSeconds(undefined)).toBe(60);
});

test.each([
  [0, 90],
  [0.5, 100],
  [1, 110],
])("at %d of the dice, 100 s become %i s", (fraction, seconds) => {
  expect(jittered(100, { fraction: () => fraction })).toBeCloseTo(seconds, 6);
});
