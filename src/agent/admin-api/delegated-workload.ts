/** The workload that a delegate asks for: selectors that the delegate answers for, or a process that the agent attests itself. */
import type { CallerTools } from "#agent/attestation/caller.ts";
import { attestWorkload } from "#agent/attestation/workload-attestation.ts";
import { openProcess, type UnixPeer } from "#grpc/peer.ts";
import { type Selector, selectorKey, selectorProblem } from "#spiffe/selector.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";

export interface WorkloadRequest {
  readonly selectors: readonly Selector[];
  /** 0 for none. */
  readonly pid: number;
}

export class DelegatedWorkload implements Disposable {
  /** `type:value` of every selector. */
  readonly selectors: ReadonlySet<string>;
  readonly #process: UnixPeer | undefined;

  private constructor(selectors: ReadonlySet<string>, process?: UnixPeer) {
    this.selectors = selectors;
    this.#process = process;
  }

  /** @throws StatusError INVALID_ARGUMENT, or UNAVAILABLE when the process cannot be attested */
  static async of(
    { selectors, pid }: WorkloadRequest,
    tools: CallerTools,
  ): Promise<DelegatedWorkload> {
    if (selectors.length > 0 === (pid !== 0)) {
      throw invalid("must provide either selectors or non-zero PID, but not both");
    }
    if (pid === 0) return new DelegatedWorkload(given(selectors));
    const process = openProcess(pid);
    if (process === undefined) throw attestationFailed();
    try {
      return new DelegatedWorkload(await attestWorkload(tools.attestors, process, tools), process);
    } catch (error) {
      process.close();
      throw error;
    }
  }

  /** @throws StatusError UNAVAILABLE when the process that was attested has ended: its pid may be another's by now */
  checkAlive(): void {
    if (this.#process?.isAlive() === false) throw attestationFailed();
  }

  [Symbol.dispose](): void {
    this.#process?.close();
  }
}

function given(selectors: readonly Selector[]): ReadonlySet<string> {
  if (selectors.some((selector) => selectorProblem(selector) !== undefined)) {
    throw invalid("could not parse provided selectors");
  }
  return new Set(selectors.map(selectorKey));
}

function invalid(why: string): StatusError {
  return new StatusError(StatusCode.INVALID_ARGUMENT, why);
}

function attestationFailed(): StatusError {
  return new StatusError(StatusCode.UNAVAILABLE, "workload attestation failed");
}
