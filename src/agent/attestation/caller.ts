import type { PeerProcess, WorkloadAttestor } from "#attestors/attestor.ts";
import type { Clock } from "#clock/clock.ts";
import type { CallContext } from "#grpc/bind.ts";
import type { Log } from "#log/log.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { attestWorkload } from "./workload-attestation.ts";

/** The process that makes a call, as the kernel named it when it connected. */
export interface AttestedCaller {
  readonly peer: PeerProcess;
  /** `type:value` of every selector. */
  readonly selectors: ReadonlySet<string>;
}

export interface CallerTools {
  readonly attestors: readonly WorkloadAttestor[];
  readonly clock: Clock;
  readonly log: Log;
}

/** @throws StatusError UNAVAILABLE when no attestor could say anything about the caller */
export async function attestCaller(
  tools: CallerTools,
  { caller }: CallContext,
): Promise<AttestedCaller> {
  if (caller.kind !== "unix") {
    throw new StatusError(StatusCode.INTERNAL, "callers are attested on Unix sockets only");
  }
  const { peer } = caller;
  return { peer, selectors: await attestWorkload(tools.attestors, peer, tools) };
}
