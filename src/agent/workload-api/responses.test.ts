import { expect, test } from "bun:test";
import { WorkloadCache } from "#agent/cache/workload-cache.ts";
import { makeWorkloadEntry } from "#agent/cache/workload-entry.fixture.ts";
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import type { WorkloadX509Svid } from "#agent/cache/x509-svids.ts";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { emptyBundle } from "#spiffe/bundle.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { createResponses } from "./responses.ts";

const trustDomain = TrustDomain.parse("example.org");
const selectors = new Set(["unix:uid:1"]);
const bytes = (...of: number[]): Uint8Array => new Uint8Array(of);

const entry = (id: string, more: Partial<WorkloadEntry> = {}) =>
  makeWorkloadEntry(id, { selectors: [...selectors], ...more });
const svid = (svidKey: string, of: number): WorkloadX509Svid => ({
  chain: [bytes(of), bytes(of + 1)],
  privateKey: bytes(of + 2),
  notAfter: 2_000_000_000,
  renewAt: 1_900_000_000,
  svidKey,
  signatory: { name: "", keyId: "" },
});
const bundle = (name: string, ...certificates: number[]) => ({
  ...emptyBundle(TrustDomain.parse(name)),
  x509Authorities: certificates.map((of) => ({ certificate: bytes(of), tainted: false })),
});

function stand(...entries: WorkloadEntry[]) {
  const clock = new ManualClock();
  const cache = new WorkloadCache({ trustDomain, x509SvidCacheMaxSize: 10, clock });
  cache.changeEntries(entries, []);
  cache.setBundle(bundle("example.org", 100, 101));
  return { cache, responses: createResponses(cache) };
}

test("Workload API §5.2.1: SVIDs with keys, the bundle, the federated bundles", () => {
  const { cache, responses } = stand(
    entry("a", { hint: "main", federatesWith: ["partner.org", "missing.org"] }),
    entry("b"),
  );
  cache.setBundle(bundle("partner.org", 7));
  cache.setBundle(bundle("stranger.org", 8));
  cache.setSvids(new Map([["a", svid("a", 1)]]));
  using caller = cache.subscribe(selectors, "x509-svids");
  expect(responses.x509Svids(caller)).toEqual({
    svids: [
      {
        spiffeId: "spiffe://example.org/a",
        x509Svid: Buffer.from([1, 2]),
        x509SvidKey: bytes(3),
        bundle: Buffer.from([100, 101]),
        hint: "main",
      },
    ],
    crl: [],
    federatedBundles: { "spiffe://partner.org": Buffer.from([7]) },
  });
  expect(Object.keys(responses.x509Bundles(caller)?.bundles ?? {})).toEqual([
    "spiffe://example.org",
    "spiffe://partner.org",
  ]);
});

test("all who get the same share one message, and it stays the same until something in it changes", () => {
  const { cache, responses } = stand(entry("a"));
  cache.setSvids(new Map([["a", svid("a", 1)]]));
  using one = cache.subscribe(selectors, "x509-svids");
  using other = cache.subscribe(new Set(selectors), "x509-svids");
  const first = responses.x509Svids(one);
  other.identities = () => expect.unreachable("it was looked up for the first of them");
  expect(responses.x509Svids(other)).toBe(first as NonNullable<typeof first>);
  const { version } = one;
  // A new revision, a tainted authority and a JWT key more change nothing in it.
  cache.changeEntries([entry("a", { revisionNumber: 1 })], []);
  cache.expedite(() => true);
  cache.setBundle({ ...bundle("example.org", 100, 101), sequenceNumber: 9 });
  expect(one.version).toBeGreaterThan(version);
  expect(responses.x509Svids(one)).toBe(first as NonNullable<typeof first>);
  cache.setSvids(new Map([["a", svid("a", 5)]]));
  expect(responses.x509Svids(one)).not.toBe(first);
});

test("there is no message as long as there is no SVID, or no bundle of our own", () => {
  const { cache, responses } = stand(entry("a"));
  using caller = cache.subscribe(selectors, "x509-svids");
  expect(responses.x509Svids(caller)).toBeUndefined();
  const clock = new ManualClock();
  const empty = new WorkloadCache({ trustDomain, x509SvidCacheMaxSize: 10, clock });
  using early = empty.subscribe(selectors, "bundles");
  expect(createResponses(empty).jwtBundles(early)).toBeUndefined();
});
