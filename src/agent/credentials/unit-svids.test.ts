import { expect, test } from "bun:test";
import { WorkloadCache } from "#agent/cache/workload-cache.ts";
import { makeWorkloadEntry } from "#agent/cache/workload-entry.fixture.ts";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import type { SystemdUnit } from "#dbus/systemd.ts";
import { emptyBundle } from "#spiffe/bundle.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { parseCredential } from "./credential.ts";
import { parseOrigin } from "./origin.ts";
import { UnitSvids } from "./unit-svids.ts";

const trustDomain = TrustDomain.parse("example.org");
const unit = (invocationId: string): SystemdUnit => ({
  id: "db.service",
  fragmentPath: "/etc/db.service",
  invocationId,
});
const entry = makeWorkloadEntry("db", { selectors: ["systemd:id:db.service"] });

function stand() {
  const clock = new ManualClock();
  const cache = new WorkloadCache({ trustDomain, x509SvidCacheMaxSize: 10, clock });
  cache.setBundle(emptyBundle(trustDomain));
  cache.setEntries(new Map([["db", entry]]));
  /** The number stands for key and certificate. */
  const issue = (number: number): void => {
    const svid = {
      chain: [Uint8Array.of(number)],
      privateKey: Uint8Array.of(number),
      notAfter: clock.nowSeconds() + 3600,
      renewAt: 0,
      svidKey: "db",
      signatory: { name: "", keyId: "" },
    };
    cache.setSvids(new Map([["db", svid]]));
  };
  const svids = new UnitSvids(cache, clock);
  const told: boolean[] = [];
  const ask = async (invocationId: string, signal = new AbortController().signal) => {
    const waiting = (_selectors: unknown, isNobody: boolean): number => told.push(isNobody);
    return (await svids.of(unit(invocationId), undefined, waiting, signal))?.svid.privateKey[0];
  };
  return { cache, clock, issue, ask, told };
}

test("one start of a unit has one SVID, though it is replaced between two credentials; the next start has the new one", async () => {
  const { clock, issue, ask } = stand();
  issue(1);
  expect(await ask("a")).toBe(1);
  issue(2);
  expect(await ask("a")).toBe(1);
  expect(await ask("b")).toBe(2);
  clock.pass(60_000);
  expect(await ask("a")).toBe(2);
});

test("whoever asks at once, before there is an SVID, gets the same", async () => {
  const { issue, ask, told } = stand();
  const asked = [ask("a"), ask("a")];
  issue(1);
  issue(2);
  const got = await Promise.all(asked);
  expect(new Set(got).size).toBe(1);
  expect(told).toEqual([false, false]);
});

test("waiting ends when nobody is there any more, and when the agent stops", async () => {
  const { cache, ask, told } = stand();
  const leaving = new AbortController();
  const asked = ask("a", leaving.signal);
  leaving.abort();
  expect(await asked).toBeUndefined();
  cache.setEntries(new Map());
  const stopped = ask("a");
  cache.close();
  expect(await stopped).toBeUndefined();
  expect(told).toEqual([false, true]);
});

test.each([
  ["\0adf9d86b6eda275e/unit/foobar.service/credx", { unit: "foobar.service", credential: "credx" }],
  ["\0a1/unit/a@b\\x2dc.service/tls.key@h", { unit: "a@b\\x2dc.service", credential: "tls.key@h" }],
  ["\0a1/unit/a.service/", undefined],
  ["\0a1/unit/a.service/b/c", undefined],
  ["\0/unit/a.service/b", undefined],
  ["\0a1/unit/a.service/b\0", undefined],
  ["/unit/a.service/b", undefined],
  ["/run/a1/unit/a.service/b", undefined],
  ["", undefined],
])("the name %j claims %j", (name, origin) => {
  expect(parseOrigin(Buffer.from(name))).toEqual(origin);
});

test.each([
  ["tls.key", { hint: undefined }],
  ["tls.crt@internal", { hint: "internal" }],
  ["ca.crt@a@b", { hint: "a@b" }],
  ["tls.key@", undefined],
  ["tls", undefined],
  ["constructor", undefined],
])("the credential %j is %j", (id, expected) => {
  const found = parseCredential(id);
  if (expected === undefined) expect(found).toBeUndefined();
  else expect(found).toMatchObject(expected);
});
