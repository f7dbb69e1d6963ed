import type { PeerProcess, WorkloadAttestor } from "#attestors/attestor.ts";
import type { CallContext } from "#grpc/bind.ts";
import type { Log } from "#log/log.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { CallLimits } from "./call-rates.ts";
import {
  type AttestedWorkload,
  attestWorkload,
  type WorkloadAttestationTools,
} from "./workload-attestation.ts";

/** A process that can be told from every other one, before and after it. */
export interface KnownProcess extends PeerProcess {
  /** No other process has the same, not even one that is given its pid. */
  readonly instance: string;
}

/** The process at the other end of a connection, as the kernel named it when it connected. */
export interface AttestedProcess extends AttestedWorkload {
  readonly peer: KnownProcess;
}

/** The one that makes a call. */
export interface AttestedCaller extends AttestedProcess {
  /** To be told when the caller turns out to be somebody: its connection then counts as one that is of use. */
  readonly identified: () => void;
}

export interface CallerTools extends WorkloadAttestationTools {
  readonly attestors: readonly WorkloadAttestor[];
  readonly limits: CallLimits;
  readonly log: Log;
}

/** @throws StatusError UNAVAILABLE when no attestor could say anything about the caller, or when it calls too often */
export async function attestCaller(
  tools: CallerTools,
  { caller, method, signal }: CallContext,
): Promise<AttestedCaller> {
  if (caller.kind !== "unix") {
    throw new StatusError(StatusCode.INTERNAL, "callers are attested on Unix sockets only");
  }
  const { peer, share } = caller;
  const workload = await attestWorkload(tools.attestors, peer, tools, signal);
  tools.limits.count(method, workload.selectors);
  return { peer, ...workload, identified: () => share.identified() };
}
