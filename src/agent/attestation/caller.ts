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

/** The process that makes a call, as the kernel named it when it connected. */
export interface AttestedCaller extends AttestedWorkload {
  readonly peer: PeerProcess;
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
  const { peer } = caller;
  const workload = await attestWorkload(tools.attestors, peer, tools, signal);
  tools.limits.count(method, workload.selectors);
  return { peer, ...workload };
}
