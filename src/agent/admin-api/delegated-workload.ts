/** The workload that a delegate asks for: selectors that the delegate answers for, or a process that the agent attests itself. */
import type { CallerTools } from "#agent/attestation/caller.ts";
import {
  type AttestedWorkload,
  attestationIncomplete,
  attestWorkload,
} from "#agent/attestation/workload-attestation.ts";
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
  readonly #silent: readonly string[];
  readonly #process: UnixPeer | undefined;

  private constructor({ selectors, silent }: AttestedWorkload, process?: UnixPeer) {
    this.selectors = selectors;
    this.#silent = silent;
    this.#process = process;
  }

  /** @throws StatusError INVALID_ARGUMENT, or UNAVAILABLE when the process cannot be attested */
  static async of(
    { selectors, pid }: WorkloadRequest,
    tools: CallerTools,
    signal: AbortSignal,
  ): Promise<DelegatedWorkload> {
    if (selectors.length > 0 === (pid !== 0)) {
      throw invalid("must provide either selectors or non-zero PID, but not both");
    }
    if (pid === 0) return new DelegatedWorkload({ selectors: given(selectors), silent: [] });
    const process = openProcess(pid);
    if (process === undefined) throw attestationFailed();
    try {
      const workload = await attestWorkload(tools.attestors, process, tools, signal);
      return new DelegatedWorkload(workload, process);
    } catch (error) {
      process.close();
      throw error;
    }
  }

  /** @throws StatusError UNAVAILABLE when the process that was attested has ended: its pid may be another's by now */
  checkAlive(): void {
    if (this.#process?.isAlive() === false) throw attestationFailed();
  }

  /** @throws StatusError UNAVAILABLE when the process has no identity, and an attestor that was silent may be why */
  checkKnown(hasIdentity: boolean): void {
    if (!hasIdentity && this.#silent.length > 0) {
      throw attestationIncomplete({ silent: this.#silent });
    }
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
