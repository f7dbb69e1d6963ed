/** How a daemon says it is, as the `healthcheck` and `doctor` commands ask it over its socket. */

import { problemIn } from "#grpc/health.ts";
import { HealthClient } from "#proto/grpc/health/v1/health.ts";
import type { Services } from "./api-service.ts";

/** grpc.health.v1.HealthCheckResponse.ServingStatus, by number. */
const STATUS_NAMES: readonly string[] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

export interface Health {
  readonly isServing: boolean;
  /** For instance `NOT_SERVING`. */
  readonly status: string;
  /** Why it does not serve, to end a message with: `: the disk is full`; empty where the daemon says nothing. */
  readonly why: string;
}

/** @returns what asks; it throws a StatusError when there is no answer */
export function healthOf(services: Services): () => Promise<Health> {
  const { call } = services.of(HealthClient);
  return async () => {
    let why = "";
    const { status } = await call("check", { service: "" }, (trailer) => {
      const problem = problemIn(trailer);
      if (problem !== "") why = `: ${problem}`;
    });
    const name = STATUS_NAMES[status] ?? String(status);
    return { isServing: name === "SERVING", status: name, why };
  };
}
