/** The standard health service, as load balancers and the `healthcheck` commands ask it. */
import { Metadata } from "@grpc/grpc-js";
import { HealthCheckResponse_ServingStatus, HealthService } from "#proto/grpc/health/v1/health.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { type BindOptions, type BoundService, bindService } from "./bind.ts";
import type { Caller } from "./caller.ts";

/** Why the daemon is not healthy: the service has no field for it, and others' clients read no trailers. */
const PROBLEM = "spire-edge-problem-bin";

/**
 * @param problem what keeps the whole process from serving, in words for this caller, maybe none at all; undefined when nothing does. A
 * rejection counts as a problem
 */
export function createHealthService(
  { problem }: { readonly problem: (caller: Caller) => Promise<string | undefined> },
  options: BindOptions,
): BoundService {
  return bindService(
    HealthService,
    {
      check: async ({ service }, context) => {
        if (service !== "") {
          throw new StatusError(StatusCode.INVALID_ARGUMENT, "per-service health is not supported");
        }
        const found = await problem(context.caller).catch(() => "");
        const { SERVING, NOT_SERVING } = HealthCheckResponse_ServingStatus;
        if (found === undefined) return { status: SERVING };
        if (found !== "") {
          context.trailer = new Metadata();
          context.trailer.set(PROBLEM, Buffer.from(found));
        }
        return { status: NOT_SERVING };
      },
    },
    options,
  );
}

/** What a daemon says why it is not healthy, from the trailer of its answer; empty when it says nothing. */
export function problemIn(trailer: Metadata): string {
  return String(trailer.get(PROBLEM)[0] ?? "");
}
