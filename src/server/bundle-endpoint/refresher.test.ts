import { afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import type { RequestListener } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { systemRandom } from "#clock/random.ts";
import { tlsPolicy } from "#http/tls-policy.ts";
import { formatBundleDocument } from "#jwt/bundle-document.ts";
import { createLog } from "#log/log.ts";
import type { DataStore } from "#server/datastore/datastore.ts";
import { openSqliteDataStore } from "#server/datastore/sqlite/open.ts";
import { type Bundle, emptyBundle } from "#spiffe/bundle.ts";
import type { FederationRelationship } from "#spiffe/federation-relationship.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { type Labels, noMetrics } from "#telemetry/metrics.ts";
import { type Made, make, NOW } from "#x509/pki.fixture.ts";
import {
  endpoint,
  identity,
  silence,
  type TestEndpoint,
  type TestIdentity,
} from "./endpoints.fixture.ts";
import { BundleRefresher } from "./refresher.ts";

const ENDPOINT_ID = SpiffeId.parse("spiffe://f.org/endpoint");

let root: Made;
let shown: TestIdentity;
beforeAll(async () => {
  const notAfter = NOW + 86_400;
  root = await make({ name: "root", isCa: true, uri: "spiffe://f.org", notAfter });
  shown = await identity({
    name: "endpoint",
    issuer: root,
    uri: ENDPOINT_ID.toString(),
    notAfter,
  });
});

const bundleFor = (name: string, sequenceNumber = 1): Bundle => ({
  ...emptyBundle(TrustDomain.parse(name)),
  x509Authorities: [{ certificate: root.certificate.der, tainted: false }],
  refreshHint: 240,
  sequenceNumber,
});

let directory: string;
let store: DataStore;
let clock: ManualClock;
let logged: Record<string, unknown>[];
let counted: [string, Labels | undefined][];
let ends: (() => PromiseLike<void>)[];
/** What the endpoint serves, and how often it was asked. */
let served: { sequenceNumber: number; requests: number };
let server: TestEndpoint;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "spire-refresher-"));
  clock = new ManualClock();
  logged = [];
  counted = [];
  served = { sequenceNumber: 1, requests: 0 };
  const log = createLog({ level: "error", format: "text" }, () => 0, { write: () => undefined });
  store = await openSqliteDataStore({ path: join(directory, "db"), log });
  ends = [() => store.close()];
  server = await serve((_, response) => {
    served.requests++;
    response.end(formatBundleDocument(bundleFor("f.org", served.sequenceNumber)));
  });
});
afterEach(async () => {
  for (const end of ends.reverse()) await end();
  rmSync(directory, { recursive: true });
});

async function serve(answer: RequestListener): Promise<TestEndpoint> {
  const started = await endpoint(shown, answer);
  ends.push(() => started[Symbol.asyncDispose]());
  return started;
}

function start(...configured: FederationRelationship[]): BundleRefresher {
  const log = createLog({ level: "debug", format: "json" }, () => clock.nowMs(), {
    write: (line) => void logged.push(JSON.parse(line)),
  });
  const refresher = new BundleRefresher({
    trustDomain: TrustDomain.parse("example.org"),
    configured: () => configured,
    store,
    policy: tlsPolicy(false),
    clock,
    random: { ...systemRandom, fraction: () => 0.5 },
    metrics: { ...noMetrics, count: (key, labels) => void counted.push([key.join("."), labels]) },
    log,
  });
  ends.push(() => refresher.stop());
  return refresher;
}

const relationship = (name = "f.org", url: string = server.url): FederationRelationship => ({
  trustDomain: TrustDomain.parse(name),
  bundleEndpointUrl: url,
  profile: { kind: "https_spiffe", endpointSpiffeId: ENDPOINT_ID },
});

/** Lets everything that is under way go on, until the check holds. */
async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  for (let turns = 0; turns < 2000; turns++) {
    if (await check()) return;
    await Bun.sleep(1);
  }
  throw new Error(`${what}: did not happen; logged: ${JSON.stringify(logged.slice(-5))}`);
}

const sequenceOf = async (name: string): Promise<number | undefined> =>
  (await store.bundles.find(name))?.sequenceNumber;
const stored = (name: string, sequenceNumber: number): Promise<void> =>
  until(`${name} at ${sequenceNumber}`, async () => (await sequenceOf(name)) === sequenceNumber);
const messages = (level: string, message: string): Record<string, unknown>[] =>
  logged.filter((line) => line["level"] === level && line["msg"] === message);
const scheduled = (times: number): Promise<void> =>
  until(
    `${times} times scheduled`,
    () => messages("debug", "Scheduling next bundle refresh").length === times,
  );

describe("a relationship", () => {
  test("is fetched at the start, and then four times within the hint", async () => {
    await store.bundles.set(bundleFor("f.org", 0));
    start(relationship());
    await stored("f.org", 1);
    await scheduled(1);
    served.sequenceNumber = 2;
    clock.pass(59_999);
    expect(served.requests).toBe(1);
    clock.pass(1);
    await scheduled(2);
    expect([served.requests, await sequenceOf("f.org")]).toEqual([2, 2]);
    expect(messages("info", "Bundle refreshed")).toHaveLength(2);
  });

  test("that did not change writes nothing", async () => {
    await store.bundles.set(bundleFor("f.org"));
    const writes: (readonly string[])[] = [];
    store.onChange(({ bundles }) => void writes.push(bundles));
    start(relationship());
    await scheduled(1);
    expect([writes, served.requests]).toEqual([[], 1]);
    const labels = { trust_domain_id: "f.org", status: "OK" };
    expect(counted).toEqual([["bundle_manager.fetch.federated_bundle", labels]]);
  });

  test("waits a minute for its first bundle, and takes it at once when an operator gives it", async () => {
    start(relationship());
    await scheduled(1);
    clock.pass(60_000);
    await scheduled(2);
    expect(served.requests).toBe(0);
    await store.bundles.set(bundleFor("f.org", 0));
    await stored("f.org", 1);
    await scheduled(3);
    const statuses = counted.map(([key, labels]) => [key.split(".")[1], labels?.["status"]]);
    expect(statuses).toEqual([
      ["fetch", "Unavailable"],
      ["fetch", "Unavailable"],
      ["fetch", "OK"],
      ["update", undefined],
    ]);
  });

  test("is no matter of a bundle of another trust domain", async () => {
    start(relationship());
    await scheduled(1);
    await store.bundles.set(bundleFor("g.org", 0));
    clock.pass(59_999);
    await store.bundles.set(bundleFor("h.org", 0));
    expect(messages("debug", "Polling for bundle update")).toHaveLength(1);
  });

  test("that fails says so once an hour, and when it works again", async () => {
    await store.bundles.set(bundleFor("f.org", 0));
    let broken = true;
    const flaky = await serve((_, response) => {
      response.statusCode = broken ? 503 : 200;
      response.end(broken ? "" : formatBundleDocument(bundleFor("f.org", 0)));
    });
    start(relationship("f.org", flaky.url));
    for (let times = 1; times <= 61; times++) {
      await scheduled(times);
      clock.pass(60_000);
    }
    await scheduled(62);
    const errors = messages("error", "Error updating bundle");
    expect(errors.map(({ failures }) => failures)).toEqual([undefined, 61]);
    expect(errors[0]).toMatchObject({
      trust_domain: "f.org",
      error: expect.stringContaining("unexpected status 503"),
    });
    expect(messages("debug", "Error updating bundle")).toHaveLength(60);
    broken = false;
    clock.pass(60_000);
    await scheduled(63);
    expect(messages("info", "The bundle endpoint answers again")).toHaveLength(1);
    expect(await sequenceOf("f.org")).toBe(0);
  });

  test("whose trust domain revokes all its authorities is stored, and then believed nothing any more", async () => {
    await store.bundles.set(bundleFor("f.org"));
    const empty = await serve((_, response) => response.end('{"keys":[],"spiffe_sequence":9}'));
    const refresher = start(relationship("f.org", empty.url));
    await stored("f.org", 9);
    expect((await store.bundles.find("f.org"))?.x509Authorities).toEqual([]);
    const again = refresher.refresh(TrustDomain.parse("f.org"));
    expect(await problemOf(again)).toContain("certificate signed by unknown authority");
  });
});

describe("relationships", () => {
  beforeEach(() => store.bundles.set(bundleFor("f.org", 0)));

  test("of the store are followed as they come, change and go", async () => {
    start();
    await store.federationRelationships.create(relationship("g.org"), undefined);
    await stored("g.org", 1);
    const other = await serve((_, response) => {
      response.end(formatBundleDocument(bundleFor("g.org", 5)));
    });
    await store.federationRelationships.update(
      "g.org",
      { bundleEndpointUrl: other.url },
      undefined,
    );
    await stored("g.org", 5);
    await store.federationRelationships.delete("g.org");
    await until("it is over", () => messages("info", "No longer polling for updates").length === 2);
    expect(messages("info", "Trust domain no longer managed")).toHaveLength(1);
    expect(served.requests).toBe(1);
  });

  test("of the configuration win", async () => {
    await store.federationRelationships.create(
      relationship("f.org", "https://127.0.0.1:1"),
      undefined,
    );
    const refresher = start(relationship());
    expect(await refresher.refresh(TrustDomain.parse("f.org"))).toBe(true);
    await stored("f.org", 1);
  });

  test("with this server's own trust domain do not exist, whoever stored one", async () => {
    await store.federationRelationships.create(relationship("example.org"), undefined);
    const refresher = start();
    expect(await refresher.refresh(TrustDomain.parse("example.org"))).toBe(false);
    expect([served.requests, await sequenceOf("example.org")]).toEqual([0, undefined]);
  });

  test("whose end comes before the answer store nothing", async () => {
    const { promise: asked, resolve } = Promise.withResolvers<() => void>();
    const slow = await serve((_, response) => {
      resolve(() => response.end(formatBundleDocument(bundleFor("g.org", 3))));
    });
    start();
    await store.federationRelationships.create(relationship("g.org", slow.url), undefined);
    const answer = await asked;
    await store.federationRelationships.delete("g.org");
    await until("it is over", () => messages("info", "No longer polling for updates").length === 1);
    answer();
    expect(await sequenceOf("g.org")).toBeUndefined();
    expect(messages("error", "Error updating bundle")).toEqual([]);
  });

  test("are fifty, and one whose endpoint hangs holds up none of the others", async () => {
    const hanging = await silence();
    ends.push(() => hanging[Symbol.asyncDispose]());
    const names = Array.from({ length: 49 }, (_, index) => `f${index}.org`);
    const refresher = start(
      relationship("hanging.org", hanging.url),
      ...names.map((name) => relationship(name)),
    );
    for (const name of names) await stored(name, 1);
    served.sequenceNumber = 2;
    expect(await refresher.refresh(TrustDomain.parse("f7.org"))).toBe(true);
    expect(await sequenceOf("f7.org")).toBe(2);
    expect(messages("error", "Error updating bundle")).toEqual([]);
  });
});

describe("refreshing by hand", () => {
  test("is refused where there is no relationship, and tells why there is no bundle", async () => {
    const refresher = start(relationship());
    expect(await refresher.refresh(TrustDomain.parse("g.org"))).toBe(false);
    expect(await problemOf(refresher.refresh(TrustDomain.parse("f.org")))).toBe(
      "can't perform SPIFFE Authentication: local copy of bundle not found",
    );
  });

  test("never answers with a bundle that was read before it was asked for; many who ask share one fetch", async () => {
    await store.bundles.set(bundleFor("f.org", 0));
    const { promise: asked, resolve } = Promise.withResolvers<() => void>();
    let requests = 0;
    const slow = await serve((_, response) => {
      const answer = formatBundleDocument(bundleFor("f.org", served.sequenceNumber));
      if (++requests > 1) response.end(answer);
      else resolve(() => response.end(answer));
    });
    const refresher = start(relationship("f.org", slow.url));
    const answer = await asked;
    served.sequenceNumber = 2;
    const all = Array.from({ length: 20 }, () => refresher.refresh(TrustDomain.parse("f.org")));
    // They take turns, so that all of them wait for the bundle once the last one has been answered.
    expect(await refresher.refresh(TrustDomain.parse("nobody.org"))).toBe(false);
    answer();
    expect(await Promise.all(all)).toEqual(Array.from({ length: 20 }, () => true));
    expect([requests, await sequenceOf("f.org")]).toEqual([2, 2]);
  });
});

async function problemOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "",
    (error: Error) => error.message,
  );
}
