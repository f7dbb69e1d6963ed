/** Names the process behind a connection: what all workload attestors say of it together. Nothing the process says itself counts. */
import type {
  Omission,
  PeerProcess,
  WorkloadAttestation,
  WorkloadAttestor,
} from "#attestors/attestor.ts";
import type { Clock } from "#clock/clock.ts";
import type { Log } from "#log/log.ts";
import { selectorKey } from "#spiffe/selector.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { countedCall, type Metrics } from "#telemetry/metrics.ts";

const TIMEOUT_MS = 30_000;

export interface WorkloadAttestationTools {
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** For what the processes of a user cause. */
  readonly logOf: (uid: number) => Log;
}

/** What is known of a workload. */
export interface AttestedWorkload {
  /** `type:value` of every selector. */
  readonly selectors: ReadonlySet<string>;
  /** The attestors that could not say all at present: where no entry matches, one may match at the next attempt. */
  readonly silent: readonly string[];
}

/**
 * @param signal aborts when nobody waits for the answer any more
 * @throws StatusError UNAVAILABLE when no attestor could say anything
 */
export async function attestWorkload(
  attestors: readonly WorkloadAttestor[],
  peer: PeerProcess,
  tools: WorkloadAttestationTools,
  signal: AbortSignal,
): Promise<AttestedWorkload> {
  const work = (): Promise<AttestedWorkload> => attest(attestors, peer, tools, signal);
  const workload = await countedCall(tools, ["workload_api", "workload_attestation"], work);
  tools.metrics.sample(["workload_api", "discovered_selectors"], workload.selectors.size);
  return workload;
}

async function attest(
  attestors: readonly WorkloadAttestor[],
  peer: PeerProcess,
  tools: WorkloadAttestationTools,
  signal: AbortSignal,
): Promise<AttestedWorkload> {
  const answers = await askAttestors(attestors, peer, tools, signal);
  const given = answers.filter(({ error }) => error === undefined);
  if (given.length === 0 || !peer.isAlive()) {
    throw new StatusError(StatusCode.UNAVAILABLE, "workload attestation failed");
  }
  return {
    selectors: new Set(given.flatMap(({ selectors }) => selectors)),
    silent: answers.filter(isSilent).map(({ name }) => name),
  };
}

function isSilent({ error, omissions }: AttestorAnswer): boolean {
  return error !== undefined || omissions.some(({ isTemporary }) => isTemporary);
}

/** What a workload without an entry is told as long as one may yet match. */
export function attestationIncomplete({ silent }: Pick<AttestedWorkload, "silent">): StatusError {
  return new StatusError(
    StatusCode.UNAVAILABLE,
    `workload attestation is incomplete: try again, as ${silent.join(" and ")} could not say all`,
  );
}

/** What one attestor says of a process. */
export interface AttestorAnswer {
  /** Of the attestor: `unix`. */
  readonly name: string;
  /** `type:value` */
  readonly selectors: readonly string[];
  readonly omissions: readonly Omission[];
  /** Why it says nothing. */
  readonly error?: unknown;
}

/**
 * Asks every attestor; never rejects. Whether the process still lives is to be looked at afterwards.
 *
 * @param signal of the call: attestors work no longer than somebody waits, and no longer than 30 seconds
 */
export async function askAttestors(
  attestors: readonly WorkloadAttestor[],
  peer: PeerProcess,
  tools: WorkloadAttestationTools,
  signal: AbortSignal,
): Promise<readonly AttestorAnswer[]> {
  const over = new AbortController();
  // An attestor that does not heed the signal is not waited for.
  const { promise: ended, reject } = Promise.withResolvers<never>();
  ended.catch(() => {});
  const end = (reason: Error): void => {
    over.abort(reason);
    reject(reason);
  };
  // One timer, which ends with the work: thousands of callers a second must not leave thousands of timers behind.
  const timer = tools.clock.after(TIMEOUT_MS, () => end(new Error("it took too long")));
  const leave = (): void => end(new StatusError(StatusCode.CANCELLED, "the caller is gone"));
  if (signal.aborted) leave();
  else signal.addEventListener("abort", leave, { once: true });
  const asked = { tools, signal: over.signal, ended };
  try {
    return await Promise.all(attestors.map((attestor) => askAttestor(attestor, peer, asked)));
  } finally {
    timer.cancel();
    signal.removeEventListener("abort", leave);
  }
}

interface Asked {
  readonly tools: WorkloadAttestationTools;
  readonly signal: AbortSignal;
  /** Rejects when the signal aborts. */
  readonly ended: Promise<never>;
}

async function askAttestor(
  attestor: WorkloadAttestor,
  peer: PeerProcess,
  { tools, signal, ended }: Asked,
): Promise<AttestorAnswer> {
  const { type: name } = attestor;
  const work = (): Promise<WorkloadAttestation> =>
    Promise.race([attestor.attest(peer, signal), ended]);
  const labels = { attestor: name };
  // Made when there is something to say: nearly every call has nothing.
  const log = (): Log => tools.logOf(peer.uid).with({ attestor: name, pid: peer.pid });
  try {
    const found = await countedCall(tools, ["workload_api", "workload_attestor"], work, labels);
    const { selectors, omissions } = found;
    for (const { selector, reason, isTemporary } of omissions) {
      if (isTemporary) log().error("Failed to collect all selectors for PID", { error: reason });
      else log().debug("Selector not given", { selector, reason });
    }
    return { name, selectors: selectors.map(selectorKey), omissions };
  } catch (error) {
    if (!isGone(error)) log().error("Failed to collect all selectors for PID", { error });
    return { name, selectors: [], omissions: [], error };
  }
}

function isGone(error: unknown): boolean {
  return error instanceof StatusError && error.code === StatusCode.CANCELLED;
}
