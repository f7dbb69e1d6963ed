/** The agent's admin socket: for the operator of the node and for processes that are trusted to act for workloads. */
import { createExplainService } from "#agent/explain/explain.ts";
import type { Knowledge } from "#agent/explain/explanation.ts";
import type { Clock } from "#clock/clock.ts";
import type { CallObserver } from "#grpc/bind.ts";
import type { GrpcListener } from "#grpc/listener.ts";
import { listenUnix } from "#grpc/unix-listener.ts";
import type { UserShares } from "#grpc/user-shares.ts";
import type { Log } from "#log/log.ts";
import { type AgentFacts, createDebugService } from "./debug.ts";
import { createDelegatedIdentityApi, type DelegatedIdentityParts } from "./delegated-identity.ts";
import { createLoggerService } from "./logger.ts";

export interface AdminApiParts extends DelegatedIdentityParts {
  /** Of the socket. */
  readonly path: string;
  readonly facts: () => AgentFacts;
  readonly server: Knowledge["server"];
  readonly observer: CallObserver;
  readonly shares: UserShares;
  readonly clock: Clock;
}

/** @throws Error with a message for the operator when the socket cannot be had */
export function listenAdmin({
  path,
  observer,
  shares,
  ...parts
}: AdminApiParts): Promise<GrpcListener> {
  const serviceLog = (name: string): Log => parts.log.with({ subsystem_name: name });
  const log = serviceLog("endpoints");
  log.info("Starting Admin APIs", { address: path, network: "unix" });
  return listenUnix({
    path,
    // Who may ask is for the file system to say, then for each service: of a group that the operator gives it, never everybody.
    socketMode: 0o770,
    directoryMode: 0o750,
    services: [
      createDelegatedIdentityApi({ ...parts, log: serviceLog("delegated_identity_api") }),
      createDebugService(parts, { log: serviceLog("debug_api") }),
      createExplainService({ ...parts, log: serviceLog("explain_api") }, "operator"),
      createLoggerService({ log: serviceLog("logger_api") }),
    ],
    isForKnown: true,
    shares,
    observer,
    log,
  });
}
