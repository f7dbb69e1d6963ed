import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "#clock/clock.ts";
import { systemRandom } from "#clock/random.ts";
import type { Caller } from "#grpc/caller.ts";
import { MemoryKeyManager } from "#keymanager/memory/memory.ts";
import { createLog } from "#log/log.ts";
import { CaManager } from "#server/ca/ca-manager.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import { openSqliteDataStore } from "#server/datastore/sqlite/open.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { noMetrics } from "#telemetry/metrics.ts";
import { generatePrivateKey, signerFromPrivateKey } from "#x509/keys.ts";
import { CallerIdentities } from "./caller-identity.ts";
import { TrustRoots } from "./trust-roots.ts";

const log = createLog({ level: "panic", format: "text" }, () => 0, { write: () => undefined });
const own = TrustDomain.parse("example.org");
const admin = SpiffeId.parse("spiffe://partner.org/admin");

let directory: string;
let store: DataStore;
let aheadSeconds: number;
const clock: Clock = {
  ...systemClock,
  monotonicMs: () => systemClock.monotonicMs(),
  nowMs: () => systemClock.nowMs() + aheadSeconds * 1000,
  nowSeconds: () => systemClock.nowSeconds() + aheadSeconds,
};

beforeEach(async () => {
  aheadSeconds = 0;
  directory = mkdtempSync(join(tmpdir(), "spire-identity-"));
  store = await openSqliteDataStore({ path: join(directory, "store.sqlite3"), log });
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

const openCa = (trustDomain: TrustDomain): Promise<CaManager> =>
  CaManager.open({
    trustDomain,
    profile: () => ({
      caSubject: { country: ["US"], organization: ["SPIFFE"], commonName: "" },
      caTtlSeconds: 86_400,
      defaultX509SvidTtlSeconds: 3600,
      defaultJwtSvidTtlSeconds: 300,
      agentTtlSeconds: 3600,
      jwtIssuer: "",
    }),
    caKeyType: "ec-p256",
    jwtKeyType: "ec-p256",
    jwtSvidsDisabled: false,
    keyManager: new MemoryKeyManager(),
    bundles: store.bundles,
    journals: { load: async () => undefined, save: async () => undefined },
    clock,
    random: systemRandom,
    metrics: noMetrics,
    log,
  });

async function callerOf(ca: CaManager, id: string): Promise<Caller> {
  const { publicKeySpki } = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
  const { chain } = await ca.x509Svid({ id: SpiffeId.parse(id), publicKeySpki });
  return {
    kind: "tls",
    remoteAddress: "192.0.2.1",
    certificates: [...chain],
    isKnown: () => {},
    hangUp: () => {},
  };
}

const identify = (caller: Caller): Promise<unknown> =>
  identities()
    .identify(caller)
    .then(
      (identity) => identity,
      (error: unknown) => error,
    );
const identities = (): CallerIdentities =>
  new CallerIdentities({
    trustDomain: own,
    adminIds: () => [admin],
    trustRoots: new TrustRoots(store),
    clock,
  });

test("X.509-SVID §5: a chain to the bundle of its trust domain is an identity", async () => {
  const caller = await callerOf(await openCa(own), "spiffe://example.org/web");
  expect(await identify(caller)).toMatchObject({ kind: "spiffe", address: "192.0.2.1" });
});

test("of another trust domain only configured admins are known, and only while federated", async () => {
  await openCa(own);
  const partner = await openCa(TrustDomain.parse("partner.org"));
  const known = await callerOf(partner, admin.toString());
  expect(await identify(known)).toMatchObject({ kind: "spiffe" });
  expect(await identify(await callerOf(partner, "spiffe://partner.org/x"))).toMatchObject({
    code: 16,
    message: 'unexpected trust domain in ID "spiffe://partner.org/x"',
  });
  await store.bundles.delete("partner.org", "restrict");
  expect(await identify(known)).toMatchObject({
    code: 16,
    message: 'no bundle found for trust domain "partner.org"',
  });
});

test("an authority that leaves the bundle takes its SVIDs along at once", async () => {
  const caller = await callerOf(await openCa(own), "spiffe://example.org/web");
  const checked = identities();
  await checked.identify(caller);
  await store.bundles.update("example.org", (bundle) => ({ ...bundle, x509Authorities: [] }));
  const outcome = await checked.identify(caller).catch((error: unknown) => error);
  expect(outcome).toMatchObject({ code: 16 });
});

test("an expired agent is told so; an expired workload is just refused", async () => {
  const ca = await openCa(own);
  const agent = await callerOf(ca, "spiffe://example.org/spire/agent/x");
  const workload = await callerOf(ca, "spiffe://example.org/web");
  const stranger = await callerOf(await openCa(TrustDomain.parse("a.org")), "spiffe://a.org/x");
  aheadSeconds = 3700;
  expect(await identify(agent)).toMatchObject({ code: 7, reason: "AGENT_EXPIRED" });
  expect(await identify(workload)).toMatchObject({ code: 16 });
  expect(await identify(stranger)).toMatchObject({ code: 16 });
});

test("a connection outlives its certificate, but its calls do not", async () => {
  const caller = await callerOf(await openCa(own), "spiffe://example.org/web");
  const checked = identities();
  await checked.identify(caller);
  aheadSeconds = 3700;
  const outcome = await checked.identify(caller).catch((error: unknown) => error);
  expect(outcome).toMatchObject({ code: 16 });
});

test("no certificate is no identity, and garbage is not an anonymous caller", async () => {
  const base = {
    kind: "tls",
    remoteAddress: "192.0.2.1",
    isKnown: () => {},
    hangUp: () => {},
  } as const;
  expect(await identify({ ...base, certificates: [] })).toEqual({
    kind: "anonymous",
    address: "192.0.2.1",
  });
  expect(await identify({ ...base, certificates: [Buffer.from("x")] })).toMatchObject({ code: 16 });
});
