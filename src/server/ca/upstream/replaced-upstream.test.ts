/** An upstream authority on disk that is replaced under a running server. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { systemClock } from "#clock/clock.ts";
import { systemRandom } from "#clock/random.ts";
import { createLog } from "#log/log.ts";
import { x509AuthorityIds } from "#server/ca/authority/authority.ts";
import { taintX509Authority } from "#server/ca/authority/taint.ts";
import { CaStage, issueSvid } from "#server/ca/ca.fixture.ts";
import type { CaManager, X509Svid } from "#server/ca/ca-manager.ts";
import { openDiskUpstreamAuthority } from "#upstream/disk/disk.ts";
import { Authorities as Files } from "#upstream/disk/openssl.fixture.ts";
import type { UpstreamAuthority } from "#upstream/upstream-authority.ts";
import { Certificate } from "#x509/certificate.ts";
import { verifyChain } from "#x509/chain.ts";

let stage: CaStage;
let files: Files;
beforeEach(() => {
  files = new Files();
  files.ca("first");
  files.ca("second");
  use("first");
  // Later than the beginning of the certificates.
  // A minute ahead: what is made meanwhile with a clock of its own is valid already.
  stage = new CaStage(systemClock.nowSeconds() + 60);
});
afterEach(async () => {
  await stage.close();
  files.remove();
});

function use(name: string): void {
  files.write("upstream.key", files.read(`${name}.key`));
  files.write("upstream.pem", files.read(`${name}.pem`));
}

function upstream(): Promise<UpstreamAuthority> {
  const { clock, trustDomain } = stage;
  const log = createLog({ level: "info", format: "text" }, () => 0, {
    write: (line) => void stage.logged.push(line),
  });
  return openDiskUpstreamAuthority(
    { certFilePath: files.path("upstream.pem"), keyFilePath: files.path("upstream.key") },
    { trustDomain, clock, random: systemRandom, log },
  );
}

async function open(): Promise<CaManager> {
  return stage.open({ caTtlSeconds: 3600, upstream: await upstream() });
}

/** The active and the prepared one. */
function idsOf({ authorities }: CaManager): (string | undefined)[] {
  const { active, prepared } = authorities.x509.state;
  return [active?.authorityId, prepared?.authorityId];
}

/** The time goes on until the rotation has looked at everything once more. */
async function nextLook(): Promise<void> {
  const wait = await stage.clock.untilNext();
  expect(wait).toBeLessThanOrEqual(10_000);
  stage.clock.pass(wait);
  await stage.clock.untilNext();
}

async function passSeconds(seconds: number): Promise<void> {
  const end = stage.clock.nowSeconds() + seconds;
  while (stage.clock.nowSeconds() < end) await nextLook();
}

/** The common name of the root that an SVID leads to by way of the bundle. */
async function rootOf({ chain }: X509Svid): Promise<string> {
  const [leaf, ...intermediates] = chain.map((der) => Certificate.parse(der));
  if (leaf === undefined) throw new Error("no leaf");
  const { x509Authorities } = await stage.bundle();
  const roots = x509Authorities.map(({ certificate }) => Certificate.parse(certificate));
  const atSeconds = stage.clock.nowSeconds();
  const path = verifyChain({ leaf, intermediates, roots, atSeconds, usage: "any" });
  return path.at(-1)?.subjectText.replace(/,.*/, "") ?? "";
}

test("the new root is in the bundle at once, signs at the usual time, and the old root stays", async () => {
  const manager = await open();
  manager.start();
  await nextLook();
  expect(manager.authorities.x509.state.prepared).toBeUndefined();
  use("second");
  await nextLook();
  const { active, prepared } = manager.authorities.x509.state;
  expect((await stage.bundle()).x509Authorities).toHaveLength(2);
  expect(prepared?.upstreamAuthorityId).not.toBe(active?.upstreamAuthorityId);
  const before = await issueSvid(manager);
  expect(await rootOf(before)).toBe("CN=first");
  await passSeconds(2900);
  expect(idsOf(manager)).toEqual([active?.authorityId, prepared?.authorityId]);
  await passSeconds(90);
  expect(idsOf(manager)[0]).toBe(prepared?.authorityId);
  expect(await rootOf(await issueSvid(manager))).toBe("CN=second");
  expect(await rootOf(before)).toBe("CN=first");
});

test("a prepared CA below the old one gives way; what was replaced while the server was down is noticed", async () => {
  const first = await open();
  await first.authorities.x509.prepare();
  use("second");
  const second = await open();
  expect(idsOf(second)).toEqual(idsOf(first));
  second.start();
  await stage.clock.untilNext();
  const { prepared } = second.authorities.x509.state;
  expect(idsOf(second)[0]).toBe(idsOf(first)[0]);
  expect(prepared?.upstreamVersion).toBe(await (await upstream()).currentVersion());
});

test("an old CA that has run out meanwhile is followed at once", async () => {
  const first = await open();
  await first.authorities.x509.prepare();
  use("second");
  stage.clock.pass(3600_000);
  expect(await rootOf(await issueSvid(await open()))).toBe("CN=second");
});

test("a replacement that does not fit changes nothing", async () => {
  const manager = await open();
  manager.start();
  await nextLook();
  const [ids, bundle] = [idsOf(manager), await stage.bundle()];
  files.write("upstream.pem", files.read("second.pem"));
  await nextLook();
  await nextLook();
  expect(idsOf(manager)).toEqual(ids);
  expect(await stage.bundle()).toEqual(bundle);
  const lines = stage.logged.filter((line) => line.includes("Failed to reload"));
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain("level=warning");
});

test("nothing is signed below a root that is tainted, and what signs goes on", async () => {
  const manager = await open();
  use("second");
  manager.start();
  await stage.clock.untilNext();
  const { prepared } = manager.authorities.x509.state;
  if (prepared === undefined) throw new Error("nothing was prepared");
  await manager.authorities.x509.activate(prepared);
  const first = Certificate.parse(
    (await stage.bundle()).x509Authorities[0]?.certificate ?? new Uint8Array(),
  );
  const { bundles } = await stage.store();
  await bundles.update("example.org", (bundle) =>
    taintX509Authority(bundle, x509AuthorityIds(first).authorityId),
  );
  use("first");
  await nextLook();
  expect(stage.logged.at(-1)).toContain("every root above it is tainted");
  expect(idsOf(manager)).toEqual([prepared.authorityId, undefined]);
  expect(await rootOf(await issueSvid(manager))).toBe("CN=second");
});
