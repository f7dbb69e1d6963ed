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
  const answers = await askAttestors(attestors, peer, tools);
  const given = answers.filter(({ error }) => error === undefined);
  if (given.length === 0 || !peer.isAlive()) {
    throw new StatusError(StatusCode.UNAVAILABLE, "workload attestation failed");
  }
  return new Set(given.flatMap(({ selectors }) => selectors));
}

/** What one attestor says of a process. */
export interface AttestorAnswer {
  /** Of the attestor: `unix`. */
  readonly name: string;
  /** `type:value` */
  readonly selectors: readonly string[];
  /** Why it says nothing. */
  readonly error?: unknown;
}

/** Asks every attestor; never rejects. Whether the process still lives is to be looked at afterwards. */
export function askAttestors(
  attestors: readonly WorkloadAttestor[],
  peer: PeerProcess,
  tools: WorkloadAttestationTools,
): Promise<readonly AttestorAnswer[]> {
  const { clock, log } = tools;
  return Promise.all(
    attestors.map(async (attestor): Promise<AttestorAnswer> => {
      const { type: name } = attestor;
      const work = (): Promise<readonly Selector[]> => withTimeout(clock, attestor.attest(peer));
      const labels = { attestor: name };
      try {
        const found = await countedCall(tools, ["workload_api", "workload_attestor"], work, labels);
        return { name, selectors: found.map(selectorKey) };
      } catch (error) {
        log.error("Failed to collect all selectors for PID", {
          attestor: name,
          pid: peer.pid,
          error,
        });
        return { name, selectors: [], error };
      }
    }),
  );
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
