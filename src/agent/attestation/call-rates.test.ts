import { expect, test } from "bun:test";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { type Labels, noMetrics } from "#telemetry/metrics.ts";
import { CallLimits } from "./call-rates.ts";

const FETCH = "/SpiffeWorkloadAPI/FetchX509SVID";
const BACKEND = new Set(["unix:uid:1", "unix:gid:1"]);

function limits(rates = new Map([[FETCH, 2]])) {
  const clock = new ManualClock();
  const counted: [string, Labels | undefined][] = [];
  const metrics = {
    ...noMetrics,
    count: (key: readonly string[], labels?: Labels) => void counted.push([key.join("."), labels]),
  };
  return { clock, counted, limits: new CallLimits(() => rates, clock, metrics) };
}

test("so many calls a second, then a refusal, and more again as time passes", () => {
  const { clock, counted, limits: tested } = limits();
  const call = (): void => tested.count(FETCH, BACKEND);
  call();
  call();
  expect(call).toThrow(
    expect.objectContaining({
      code: StatusCode.UNAVAILABLE,
      message: `rate limit exceeded for ${FETCH}`,
    }),
  );
  expect(counted).toEqual([["workload_api.rate_limit_exceeded", { method: FETCH }]]);
  clock.pass(500);
  call();
  expect(call).toThrow("rate limit exceeded");
});

test("a refusal costs nothing: who goes on trying is let in as soon as anybody", () => {
  const { clock, limits: tested } = limits();
  const call = (): void => tested.count(FETCH, BACKEND);
  call();
  call();
  for (let tries = 0; tries < 10; tries++) expect(call).toThrow();
  clock.pass(500);
  call();
});

test("other workloads have buckets of their own, whatever the order of their selectors", () => {
  const { limits: tested } = limits();
  tested.count(FETCH, BACKEND);
  tested.count(FETCH, new Set([...BACKEND].reverse()));
  expect(() => tested.count(FETCH, BACKEND)).toThrow();
  tested.count(FETCH, new Set(["unix:uid:2"]));
  tested.count(FETCH, new Set());
});

test("other methods have no limit", () => {
  const { limits: tested } = limits();
  for (let calls = 0; calls < 10; calls++) tested.count("/SpiffeWorkloadAPI/Other", BACKEND);
});

test("a limit that is changed or taken away counts from the next call on", () => {
  const rates = new Map([[FETCH, 1]]);
  const { limits: tested } = limits(rates);
  const call = (): void => tested.count(FETCH, BACKEND);
  call();
  expect(call).toThrow();
  rates.set(FETCH, 3);
  for (let calls = 0; calls < 3; calls++) call();
  expect(call).toThrow();
  rates.delete(FETCH);
  call();
});
