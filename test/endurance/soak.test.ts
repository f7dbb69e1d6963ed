/** The soak of test/bench/soak.ts in small: long enough to see whether something is kept of each call, not how much. */
import { afterAll, expect, test } from "bun:test";
import { Stage } from "../support/spire.ts";
import { median, soak } from "./soak.ts";

const CALLS = 100_000;
const CONNECTIONS = 10_000;
/** Both daemons come to rest near 130 MB; 2 KB kept of each call would make an agent of 250 MB here. */
const MAX_RESIDENT_MB = 190;
const MAX_MORE_DESCRIPTORS = 20;

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

test("nothing is kept of a call or a connection that is over, and no empty frames are sent", async () => {
  const result = await soak(stage, { calls: CALLS, connections: CONNECTIONS });
  expect(result.frames.frames).toBeGreaterThan(CALLS / 4);
  expect(result.frames.emptyData).toBe(0);
  for (const who of ["server", "agent"] as const) {
    const samples = result[who];
    expect(median(samples, "residentMb", 0.8, 1)).toBeLessThan(MAX_RESIDENT_MB);
    const before = median(samples, "descriptors", 0.2, 0.4);
    const after = median(samples, "descriptors", 0.8, 1);
    expect(after).toBeLessThanOrEqual(before + MAX_MORE_DESCRIPTORS);
  }
}, 240_000);
