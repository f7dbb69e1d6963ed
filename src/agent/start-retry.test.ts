import { expect, test } from "bun:test";
import { type Clock, systemClock } from "#clock/clock.ts";
import { createLog } from "#log/log.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import {
  FIRST_ATTESTATION,
  FIRST_ATTESTATION_REBOOTSTRAPPING,
  REATTESTATION,
  type RetryPolicy,
  retry,
} from "./start-retry.ts";

const away = new StatusError(StatusCode.UNAVAILABLE, "no connection");
const spent = new StatusError(StatusCode.INVALID_ARGUMENT, "the token is spent");
const banned = new StatusError(StatusCode.PERMISSION_DENIED, "banned");

const never = new AbortController().signal;

/** Runs a step that fails `failures` times; time passes only by waiting. */
async function attempt(policy: RetryPolicy, failures: number, error: Error, signal = never) {
  let now = 0;
  let tries = 0;
  const clock: Clock = {
    ...systemClock,
    monotonicMs: () => now,
  };
  const pause = async (milliseconds: number): Promise<void> => {
    now += milliseconds;
  };
  const log = createLog({ level: "debug", format: "text" }, () => 0, { write: () => {} });
  const random = { bytes: () => new Uint8Array(), uuid: () => "", fraction: () => 0.5 };
  const step = async (): Promise<string> => {
    if (tries++ < failures) throw error;
    return "joined";
  };
  const outcome = await retry(
    "attest",
    { clock, random, log, pause, tell: () => {} },
    policy,
    step,
    signal,
  ).catch((failure: unknown) => String(failure));
  return { outcome, tries, seconds: Math.round(now / 1000) };
}

test("a first attestation is tried for a minute", async () => {
  expect(await attempt(FIRST_ATTESTATION, 3, away)).toMatchObject({ outcome: "joined", tries: 4 });
  const { outcome, seconds } = await attempt(FIRST_ATTESTATION, 1000, away);
  expect(outcome).toContain("failed to attest: no connection");
  expect(seconds).toBeGreaterThan(30);
  expect(seconds).toBeLessThanOrEqual(60);
});

test("where the trust bundle may be asked for again, it is tried for a day, at least once a minute", async () => {
  const { seconds, tries } = await attempt(FIRST_ATTESTATION_REBOOTSTRAPPING, 1e6, away);
  expect(seconds).toBeGreaterThan(23 * 3600);
  expect(seconds).toBeLessThanOrEqual(24 * 3600);
  expect(tries).toBeGreaterThan(23 * 60);
});

test("an answer that no repetition changes ends a first attestation at once", async () => {
  for (const error of [spent, banned]) {
    const { outcome, tries } = await attempt(FIRST_ATTESTATION, 10, error);
    expect({ outcome, tries }).toEqual({
      outcome: `Error: failed to attest: ${error.message}`,
      tries: 1,
    });
  }
});

test("a node that was a member once waits for ever, for its server or for a new token, unless it is banned", async () => {
  for (const error of [away, spent]) {
    expect((await attempt(REATTESTATION, 10_000, error)).outcome).toBe("joined");
  }
  expect((await attempt(REATTESTATION, 10, banned)).tries).toBe(1);
});

test("an agent that is asked to stop does not try again", async () => {
  const { tries } = await attempt(REATTESTATION, 10, away, AbortSignal.abort());
  expect(tries).toBe(0);
});
