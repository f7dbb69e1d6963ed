import { expect, test } from "bun:test";
import { WorkloadCache } from "#agent/cache/workload-cache.ts";
import { makeWorkloadEntry } from "#agent/cache/workload-entry.fixture.ts";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { attestorMessage, identityMessages, serverMessage } from "./explanation.ts";

const NOW = 1_800_000_000;
const WHY = "connect ECONNREFUSED 10.0.0.7:8081";
const clock = new ManualClock(NOW);
const trustDomain = TrustDomain.parse("example.org");
const cache = new WorkloadCache({ trustDomain, x509SvidCacheMaxSize: 10, clock });
cache.changeEntries([makeWorkloadEntry("web")], []);
const failure = { error: WHY, failedAt: NOW, retryAt: NOW + 5 };
const knowledge = {
  cache,
  clock,
  jwtSvids: { of: () => [] },
  server: { status: undefined, issuanceStatus: () => ({ isUnderWay: false, failure }) },
};

test("why something failed is for the operator; a workload learns that it did, and when it is tried again", () => {
  const identities = cache.identitiesFor(new Set(["unix:user:web"]));
  const answer = { name: "systemd", selectors: [], omissions: [], error: new Error(WHY) };
  const told = (audience: "operator" | "workload"): string =>
    JSON.stringify([
      attestorMessage(answer, audience),
      identityMessages(knowledge, identities, audience),
      serverMessage(knowledge, audience),
    ]);
  expect(told("operator").split(WHY)).toHaveLength(3);
  expect(told("workload")).not.toContain("10.0.0.7");
  expect(told("workload").split("the agent's log says why")).toHaveLength(3);
  expect(told("workload")).toContain(`"failedAt":${NOW},"retryAt":${NOW + 5}`);
});
