/** The standard health service, as load balancers and the `healthcheck` commands ask it. */

import { HealthCheckResponse_ServingStatus, HealthService } from "#proto/grpc/health/v1/health.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { type BindOptions, type BoundService, bindService } from "./bind.ts";

/** @param check whether the whole process serves; a rejection counts as no */
export function createHealthService(
  { check }: { readonly check: () => Promise<boolean> },
  options: BindOptions,
): BoundService {
  return bindService(
    HealthService,
    {
      check: async ({ service }) => {
        if (service !== "") {
          throw new StatusError(StatusCode.INVALID_ARGUMENT, "per-service health is not supported");
        }
        const healthy = await check().catch(() => false);
        const { SERVING, NOT_SERVING } = HealthCheckResponse_ServingStatus;
        return { status: healthy ? SERVING : NOT_SERVING };
      },
    },
    options,
  );
}
