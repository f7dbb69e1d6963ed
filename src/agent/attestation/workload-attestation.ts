/** Names the process behind a connection: what all workload attestors say of it together. Nothing the process says itself counts. */
import type { PeerProcess, WorkloadAttestor } from "#attestors/attestor.ts";
import type { Clock } from "#clock/clock.ts";
import type { Log } from "#log/log.ts";
import { type Selector, selectorKey } from "#spiffe/selector.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { countedCall, type Metrics } from "#telemetry/metrics.ts";

const TIMEOUT_MS = 30_000;

export interface WorkloadAttestationTools {
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly log: Log;
}

/**
 * @returns `type:value` of every selector
 * @throws StatusError UNAVAILABLE when no attestor could say anything
 */
export async function attestWorkload(
  attestors: readonly WorkloadAttestor[],
  peer: PeerProcess,
  tools: WorkloadAttestationTools,
): Promise<ReadonlySet<string>> {
  const work = (): Promise<ReadonlySet<string>> => attest(attestors, peer, tools);
  const selectors = await countedCall(tools, ["workload_api", "workload_attestation"], work);
  tools.metrics.sample(["workload_api", "discovered_selectors"], selectors.size);
  return selectors;
}

async function attest(
  attestors: readonly WorkloadAttestor[],
  peer: PeerProcess,
  tools: WorkloadAttestationTools,
): Promise<ReadonlySet<string>> {
  const { clock, log } = tools;
  const answers = await Promise.all(
    attestors.map(async (attestor): Promise<readonly Selector[] | undefined> => {
      const work = (): Promise<readonly Selector[]> => withTimeout(clock, attestor.attest(peer));
      const labels = { attestor: attestor.type };
      try {
        return await countedCall(tools, ["workload_api", "workload_attestor"], work, labels);
      } catch (error) {
        log.error("Failed to collect all selectors for PID", {
          attestor: attestor.type,
          pid: peer.pid,
          error,
        });
        return undefined;
      }
    }),
  );
  const given = answers.filter((selectors) => selectors !== undefined);
  if (given.length === 0 || !peer.isAlive()) {
    throw new StatusError(StatusCode.UNAVAILABLE, "workload attestation failed");
  }
  return new Set(given.flat().map(selectorKey));
}

/** The timer ends with the work: thousands of callers a second must not leave thousands of timers behind. */
async function withTimeout<T>(clock: Clock, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = clock.after(TIMEOUT_MS, () => reject(new Error("it took too long")));
  try {
    return await Promise.race([work, promise]);
  } finally {
    timer.cancel();
  }
}
