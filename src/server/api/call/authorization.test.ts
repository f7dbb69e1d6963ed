import { expect, test } from "bun:test";
import { HealthService } from "#proto/grpc/health/v1/health.ts";
import { AgentService } from "#proto/spire/api/server/agent/v1/agent.ts";
import { BundleService } from "#proto/spire/api/server/bundle/v1/bundle.ts";
import { DebugService } from "#proto/spire/api/server/debug/v1/debug.ts";
import { EntryService } from "#proto/spire/api/server/entry/v1/entry.ts";
import { LocalAuthorityService } from "#proto/spire/api/server/localauthority/v1/localauthority.ts";
import { LoggerService } from "#proto/spire/api/server/logger/v1/logger.ts";
import { SVIDService } from "#proto/spire/api/server/svid/v1/svid.ts";
import { TrustDomainService } from "#proto/spire/api/server/trustdomain/v1/trustdomain.ts";
import { ChangesService } from "#proto/spire_edge/changes/v1/changes.ts";
import { rolesAllowed } from "./authorization.ts";

const methods = [
  HealthService,
  AgentService,
  BundleService,
  ChangesService,
  DebugService,
  EntryService,
  LocalAuthorityService,
  LoggerService,
  SVIDService,
  TrustDomainService,
]
  .flatMap((service) => Object.values(service))
  .map(({ path }) => path);

test.each(methods)("%s has a rule", (method) => {
  expect(rolesAllowed(method)).not.toBeEmpty();
});

test("only attestation and the bundle are open to anybody", () => {
  expect(methods.filter((method) => rolesAllowed(method).includes("any"))).toEqual([
    "/spire.api.server.agent.v1.Agent/AttestAgent",
    "/spire.api.server.bundle.v1.Bundle/GetBundle",
  ]);
});

test("agents reach these methods and no other", () => {
  const names = methods.filter((method) => rolesAllowed(method).includes("agent"));
  expect(names.map((method) => method.split("/")[2])).toEqual([
    "RenewAgent",
    "PostStatus",
    "GetFederatedBundle",
    "WatchChanges",
    "GetAuthorizedEntries",
    "SyncAuthorizedEntries",
    "BatchNewX509SVID",
    "NewJWTSVID",
    "BatchNewWITSVID",
  ]);
});

test.each([
  "/spire.api.server.agent.v1.Agent/Unknown",
  "/spire.api.server.agent.v1.Agent/constructor",
  "/constructor/name",
  "/toString/length",
  "",
])("a method without a rule lets nobody in: %p", (method) => {
  expect(rolesAllowed(method)).toEqual([]);
});
