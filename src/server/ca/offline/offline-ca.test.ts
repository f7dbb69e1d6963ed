/** A CA that is signed by hand, on a clock that stands still; the signer is the authority `disk`, with files made by openssl. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Clock, systemClock } from "#clock/clock.ts";
import { systemRandom } from "#clock/random.ts";
import { createLog } from "#log/log.ts";
import { x509AuthorityIds } from "#server/ca/authority/authority.ts";
import { taintX509Authority } from "#server/ca/authority/taint.ts";
import { CaStage, issueSvid } from "#server/ca/ca.fixture.ts";
import type { CaManager } from "#server/ca/ca-manager.ts";
import { errorText } from "#spiffe/status-error.ts";
import { openDiskUpstreamAuthority } from "#upstream/disk/disk.ts";
import { Authorities as Files } from "#upstream/disk/openssl.fixture.ts";
import type { OfflineUpstreamConfig } from "#upstream/offline/config.ts";
import { openOfflineUpstreamAuthority } from "#upstream/offline/offline.ts";
import { certificatesToPem } from "#x509/pem.ts";
import type { SignedAnswer } from "./accept-signed.ts";
import type { OfflineCa } from "./offline-ca.ts";

const DAY = 24 * 3600;

let stage: CaStage;
let files: Files;
beforeEach(() => {
  files = new Files();
  files.ca("root", { days: 90 });
  // A minute ahead: what is made meanwhile with a clock of its own is valid already.
  stage = new CaStage(systemClock.nowSeconds() + 60);
});
afterEach(async () => {
  await stage.close();
  files.remove();
});

const csrPath = (): string => join(stage.directory, "ca.csr");

async function open(config: Partial<OfflineUpstreamConfig> = {}): Promise<CaManager> {
  const warnBeforeSeconds = 30 * DAY;
  const offline = await openOfflineUpstreamAuthority({
    name: "offline",
    dataDir: stage.directory,
    csrPath: csrPath(),
    warnBeforeSeconds,
    ...config,
  });
  return await stage.open({ offline });
}

function offlineOf({ authorities: { offline } }: CaManager): OfflineCa {
  if (offline === undefined) throw new Error("nothing is signed by hand");
  return offline;
}

/** What the signer makes of the pending request. @param aheadSeconds of the signer's clock */
async function signed(
  manager: CaManager,
  ttlSeconds: number,
  { by = "root", aheadSeconds = 0 } = {},
): Promise<SignedAnswer> {
  const clock: Clock = Object.create(stage.clock, {
    nowSeconds: { value: () => stage.clock.nowSeconds() + aheadSeconds },
  });
  const log = createLog({ level: "info", format: "text" }, () => 0, { write: () => {} });
  const signer = await openDiskUpstreamAuthority(
    { certFilePath: files.path(`${by}.pem`), keyFilePath: files.path(`${by}.key`) },
    { trustDomain: stage.trustDomain, clock, random: systemRandom, log },
  );
  const { csr } = offlineOf(manager).pendingOrRefuse();
  const { caChain, upstreamRoots } = await signer.mintX509Ca(csr, ttlSeconds);
  return { certificates: caChain, roots: upstreamRoots.map(({ certificate }) => certificate) };
}

async function signAndImport(manager: CaManager, ttlSeconds: number, by = "root") {
  return await offlineOf(manager).import(await signed(manager, ttlSeconds, { by }));
}

/** Lets time pass and does what the loop of the authorities would. */
async function pass(manager: CaManager, seconds: number): Promise<void> {
  stage.clock.pass(seconds * 1000);
  await manager.authorities.x509.advance(stage.clock.nowSeconds());
  await offlineOf(manager).look();
}

function slots({ authorities }: CaManager) {
  const { active, prepared, old } = authorities.x509.state;
  return [active?.slot, prepared?.slot, old?.slot, authorities.offline?.pending?.slot];
}

/** Why it was refused. Not expect().rejects: it turns the event loop itself, and nothing then hears of what the writer's thread has done. */
function refusal(call: Promise<unknown>): Promise<string> {
  return call.then(() => "it was not refused", errorText);
}

const logged = (words: string): string[] => stage.logged.filter((line) => line.includes(words));

test("without a CA nothing is signed but JWT-SVIDs; the first one that is imported signs at once", async () => {
  const manager = await open();
  const waiting = `waiting for CA: csr at ${csrPath()}`;
  expect(manager.waitingFor()).toBe(waiting);
  expect(existsSync(csrPath())).toBe(true);
  expect(await refusal(issueSvid(manager))).toContain(
    `X509 CA is not available for signing: ${waiting}`,
  );
  expect(manager.authorities.jwt.state.active).toBeDefined();
  const answer = await signed(manager, 20 * DAY);
  const { ca, warnings } = await offlineOf(manager).import(answer);
  await manager.live;
  expect([manager.waitingFor(), warnings]).toEqual([undefined, []]);
  expect(manager.authorities.x509.state.active).toBe(ca);
  expect((await stage.bundle()).x509Authorities.map(({ certificate }) => certificate)).toEqual([
    ...answer.roots,
  ]);
  expect((await issueSvid(manager)).chain).toHaveLength(2);
  expect(existsSync(csrPath())).toBe(false);
  // Whoever did not hear the answer may ask again.
  expect((await offlineOf(manager).import(answer)).ca).toBe(ca);
  expect(() => offlineOf(manager).pendingOrRefuse()).toThrow("no request waits for a signature");
});

test("the next one is asked for in time, warned of the more often the nearer the end, and missed in the end", async () => {
  const manager = await open();
  await signAndImport(manager, 20 * DAY);
  await pass(manager, 10 * DAY - 60);
  expect(offlineOf(manager).pending).toBeUndefined();
  const warnings: number[] = [];
  for (let left = 10 * DAY; left > 0; left -= 600) {
    const before = logged("its successor is not signed yet").length;
    await pass(manager, left === 10 * DAY ? 60 : 600);
    if (logged("its successor is not signed yet").length > before) warnings.push(left);
  }
  expect(warnings[0]).toBe(10 * DAY);
  const pauses = warnings.slice(1).map((left, index) => (warnings[index] ?? 0) - left);
  expect(pauses[0]).toBe(DAY);
  expect(pauses.at(-1)).toBe(600);
  expect(pauses).toEqual([...pauses].sort((a, b) => b - a));
  expect(logged("its successor is not signed yet")[0]).toContain('time_left="10 days"');
  expect(await issueSvid(manager)).toBeDefined();
  await pass(manager, 600);
  expect(await refusal(issueSvid(manager))).toContain("waiting for CA");
  await pass(manager, 300);
  await pass(manager, 300);
  expect(logged("There is no X509 CA")).toHaveLength(2);
  await signAndImport(manager, 20 * DAY);
  expect(manager.waitingFor()).toBeUndefined();
});

test("what is prepared takes over by the usual rule; a further request costs neither of the two", async () => {
  const manager = await open();
  await signAndImport(manager, 20 * DAY);
  await pass(manager, 10 * DAY);
  const { ca } = await signAndImport(manager, 20 * DAY);
  expect(slots(manager)).toEqual(["A", "B", undefined, undefined]);
  expect(await refusal(manager.authorities.x509.prepare())).toContain(
    `the X.509 authority is signed by hand: its request waits at ${csrPath()}`,
  );
  expect(slots(manager)).toEqual(["A", "B", undefined, "C"]);
  const again = await open();
  expect(slots(again)).toEqual(["A", "B", undefined, "C"]);
  expect(offlineOf(again).pending?.csr).toEqual(offlineOf(manager).pending?.csr);
  await pass(again, 6.6 * DAY);
  expect(slots(again)).toEqual(["A", "B", undefined, "C"]);
  await pass(again, 0.1 * DAY);
  expect(slots(again)).toEqual(["B", undefined, "A", "C"]);
  expect(again.authorities.x509.state.active?.authorityId).toBe(ca.authorityId);
  await signAndImport(again, 20 * DAY);
  expect(slots(again)).toEqual(["B", "C", "A", undefined]);
});

test("a request whose key is lost is made anew", async () => {
  const first = await open();
  rmSync(join(stage.directory, "keys.json"));
  const second = await open();
  expect(logged("The key of the pending request is lost")).toHaveLength(1);
  expect(offlineOf(second).pending?.csr).not.toEqual(offlineOf(first).pending?.csr);
  const old = await signed(first, DAY);
  expect(await refusal(offlineOf(second).import(old))).toContain("it is for another key");
});

test("the request's file is written again, and one that cannot be written is told of once", async () => {
  const manager = await open();
  rmSync(csrPath());
  await pass(manager, 10);
  expect(existsSync(csrPath())).toBe(true);
  const elsewhere = await open({ csrPath: join(stage.directory, "nowhere/ca.csr") });
  await pass(elsewhere, 10);
  await pass(elsewhere, 10);
  expect(logged("could not be kept")).toHaveLength(1);
  await signAndImport(elsewhere, DAY);
  expect(elsewhere.waitingFor()).toBeUndefined();
});

describe("a certificate that begins later", () => {
  test("is waited for where nothing signs", async () => {
    const manager = await open();
    await offlineOf(manager).import(await signed(manager, DAY, { aheadSeconds: 100 }));
    expect(manager.waitingFor()).toMatch(/^waiting for CA: the one that was imported begins at 2/);
    const due = manager.authorities.x509.dueAt;
    expect(due - stage.clock.nowSeconds()).toBe(90);
    const again = await open();
    expect(again.waitingFor()).toBe(manager.waitingFor());
    await pass(again, 89);
    expect(again.waitingFor()).toBeDefined();
    await pass(again, 1);
    expect(again.waitingFor()).toBeUndefined();
  });

  test("does not sign before, whatever the operator says, and must not leave a gap", async () => {
    const manager = await open();
    await signAndImport(manager, DAY);
    await pass(manager, DAY / 2);
    const gap = await signed(manager, DAY, { aheadSeconds: DAY });
    expect(await refusal(offlineOf(manager).import(gap))).toContain("after the CA that signs now");
    const later = await signed(manager, DAY, { aheadSeconds: 3600 });
    const { ca } = await offlineOf(manager).import(later);
    expect(await refusal(manager.authorities.x509.activate(ca))).toContain(
      "the prepared X.509 authority begins at",
    );
  });
});

test("a CA that the server made itself goes on until the first one from the offline root", async () => {
  const before = await stage.open({ caTtlSeconds: DAY });
  const own = before.authorities.x509.state.active;
  const manager = await open();
  expect(manager.waitingFor()).toBeUndefined();
  expect(manager.authorities.x509.state.active?.authorityId).toBe(own?.authorityId ?? "");
  await pass(manager, 1);
  expect(offlineOf(manager).pending).toBeDefined();
  await signAndImport(manager, 20 * DAY);
  expect((await stage.bundle()).x509Authorities).toHaveLength(2);
  await pass(manager, DAY);
  expect(manager.authorities.x509.state.active?.upstreamVersion).toBe("offline");
});

describe("roots", () => {
  test("the configured ones alone count where there are any; they are read at every import", async () => {
    files.ca("other");
    files.write("anchors.pem", files.read("other.pem"));
    const manager = await open({ rootCertPath: files.path("anchors.pem") });
    const answer = await signed(manager, DAY);
    const { import: take } = { import: offlineOf(manager).import.bind(offlineOf(manager)) };
    expect(await refusal(take(answer))).toContain(
      'the root "CN=root,O=Corp,C=DE" is not in root_cert',
    );
    expect(await refusal(take({ ...answer, roots: [] }))).toContain("leads to no root that counts");
    files.write("anchors.pem", files.read("root.pem"), files.read("other.pem"));
    await take({ ...answer, roots: [] });
    // A root that nothing is below yet is nobody's to trust.
    expect((await stage.bundle()).x509Authorities).toHaveLength(1);
  });

  test("a new one is in the bundle before anything is below it; a tainted one counts no more", async () => {
    files.ca("second");
    const manager = await open();
    await signAndImport(manager, DAY);
    const [first] = (await stage.bundle()).x509Authorities;
    await pass(manager, DAY / 2);
    const { ca } = await signAndImport(manager, DAY, "second");
    expect((await stage.bundle()).x509Authorities).toHaveLength(2);
    await manager.authorities.x509.activate(ca);
    const { active, old } = manager.authorities.x509.state;
    expect(old?.upstreamAuthorityId).not.toBe(active?.upstreamAuthorityId);
    const { bundles } = await stage.store();
    await bundles.update("example.org", (bundle) =>
      taintX509Authority(bundle, old?.upstreamAuthorityId ?? ""),
    );
    expect(first).toBeDefined();
    expect(await refusal(manager.authorities.x509.prepare())).toContain("signed by hand");
    const below = await signed(manager, DAY);
    expect(await refusal(offlineOf(manager).import(below))).toContain(
      "leads to no root that counts",
    );
    // The bundle has the sound one, so it need not be given again.
    await offlineOf(manager).import({
      ...(await signed(manager, DAY, { by: "second" })),
      roots: [],
    });
  });
});

test("a file that appears at import_path is taken, and one that does not fit is told of once", async () => {
  const importPath = join(stage.directory, "signed.pem");
  const manager = await open({ importPath, rootCertPath: files.path("root.pem") });
  writeFileSync(importPath, files.read("root.pem"));
  await pass(manager, 10);
  await pass(manager, 10);
  expect(logged("could not be imported")).toHaveLength(1);
  expect(logged("could not be imported")[0]).toContain("it is for another key");
  writeFileSync(importPath, certificatesToPem((await signed(manager, DAY)).certificates));
  await pass(manager, 10);
  expect(manager.waitingFor()).toBeUndefined();
  // It still lies there when the next request is made.
  await pass(await open({ importPath, rootCertPath: files.path("root.pem") }), DAY / 2);
  expect(logged("could not be imported")).toHaveLength(1);
});

test("a server below this one gets a CA only where the path lengths leave room for it", async () => {
  files.ca("narrow", {
    extensions: [
      "basicConstraints=critical,CA:TRUE,pathlen:1",
      "keyUsage=critical,keyCertSign,cRLSign",
    ],
  });
  const manager = await open();
  await signAndImport(manager, DAY, "narrow");
  const key = manager.authorities.x509.state.active?.key.publicKeySpki ?? new Uint8Array();
  expect(await refusal(manager.downstreamCa({ publicKeySpki: key }))).toContain(
    "no CA may be below the CA of this server",
  );
  await pass(manager, DAY / 2);
  const { ca } = await signAndImport(manager, DAY);
  await manager.authorities.x509.activate(ca);
  expect((await manager.downstreamCa({ publicKeySpki: key })).chain).toHaveLength(2);
  expect(x509AuthorityIds(ca.certificate).authorityId).toBe(ca.authorityId);
});
