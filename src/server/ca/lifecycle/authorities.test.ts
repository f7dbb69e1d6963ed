import { afterEach, beforeEach, expect, test } from "bun:test";
import { createPublicKey, type KeyObject } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { decodeProtectedHeader, jwtVerify } from "jose";
import { verifyJwtSvid } from "#jwt/verify.ts";
import type { TokenKey } from "#server/ca/authority/authority.ts";
import { CaStage, issueSvid, issueWit, WIT_SVIDS, WORKLOAD } from "#server/ca/ca.fixture.ts";
import type { CaManager, X509Svid } from "#server/ca/ca-manager.ts";
import type { Rotation } from "#server/ca/rotation/rotation.ts";
import type { Bundle, KeyAuthority } from "#spiffe/bundle.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { Certificate } from "#x509/certificate.ts";
import { verifyChain } from "#x509/chain.ts";
import { generatePrivateKey, signerFromPrivateKey } from "#x509/keys.ts";

let stage: CaStage;
beforeEach(() => {
  stage = new CaStage();
});
afterEach(() => stage.close());

const idsOf = ({ authorities: { x509, jwt, wit } }: CaManager) =>
  [x509, jwt, wit].map((rotation) => {
    const { active, prepared, old } = rotation?.state ?? {};
    return [active, prepared, old].map((one) => one?.authorityId);
  });

/** All three kinds. */
const open = (caTtlSeconds: number = 3600): Promise<CaManager> =>
  stage.open({ caTtlSeconds, witSvids: WIT_SVIDS });
const openedWit = ({ authorities: { wit } }: CaManager): Rotation<TokenKey> => {
  if (wit === undefined) throw new Error("WIT-SVIDs are switched off");
  return wit;
};

function verifyX509({ chain }: X509Svid, bundle: Bundle): void {
  const [leaf, ...intermediates] = chain.map((der) => Certificate.parse(der));
  if (leaf === undefined) throw new Error("no leaf");
  const roots = bundle.x509Authorities.map(({ certificate }) => Certificate.parse(certificate));
  const atSeconds = stage.clock.nowSeconds();
  verifyChain({ leaf, intermediates, roots, atSeconds, usage: "any" });
}

function keysOf(authorities: readonly KeyAuthority[]): Map<string, KeyObject> {
  return new Map(
    authorities.map(({ keyId, publicKey }) => [
      keyId,
      createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" }),
    ]),
  );
}

async function verifyJwt(token: string, { jwtAuthorities }: Bundle): Promise<void> {
  await verifyJwtSvid(token, "a", () => keysOf(jwtAuthorities), stage.clock.nowSeconds());
}

async function verifyWit(token: string, { witAuthorities }: Bundle): Promise<void> {
  const key = keysOf(witAuthorities).get(String(decodeProtectedHeader(token).kid));
  if (key === undefined) throw new Error("the bundle has no such key");
  const currentDate = new Date(stage.clock.nowMs());
  await jwtVerify(token, key, { typ: "wit+jwt", currentDate });
}

test("with lifetimes of seconds there is always somebody who signs, and the bundle knows whoever did", async () => {
  const manager = await open(16);
  manager.start();
  const signers = new Set<string | undefined>();
  let svid = await issueSvid(manager);
  let jwtSvid = await manager.jwtSvid({ id: WORKLOAD, audience: ["a"] });
  let witSvid = await issueWit(manager);
  for (let second = 0; second < 64; second++) {
    await passSecond();
    const bundle = await stage.bundle();
    // What was signed a second ago still verifies, whoever signs now.
    if (svid.expiresAt > stage.clock.nowSeconds()) verifyX509(svid, bundle);
    await verifyJwt(jwtSvid.token, bundle);
    await verifyWit(witSvid.token, bundle);
    svid = await issueSvid(manager);
    jwtSvid = await manager.jwtSvid({ id: WORKLOAD, audience: ["a"] });
    witSvid = await issueWit(manager);
    // Between five sixths of a life and the next whole second there is never less left.
    expect(svid.expiresAt - stage.clock.nowSeconds()).toBeGreaterThanOrEqual(3);
    expect(jwtSvid.expiresAt - stage.clock.nowSeconds()).toBeGreaterThanOrEqual(3);
    expect(witSvid.expiresAt - stage.clock.nowSeconds()).toBeGreaterThanOrEqual(3);
    for (const [active] of idsOf(manager)) signers.add(active);
  }
  // Each hands over 14 s after it was made, and is made 8 s into the life of the one before.
  expect(signers.size).toBe(3 * 8);
  expect(stage.logged.filter((line) => line.includes("Unable to"))).toEqual([]);
});

test("a restart goes on with all three authorities of each kind", async () => {
  const first = await open();
  const wit = openedWit(first);
  await first.authorities.x509.activate(await first.authorities.x509.prepare());
  await first.authorities.jwt.activate(await first.authorities.jwt.prepare());
  await wit.activate(await wit.prepare());
  const before = idsOf(first);
  expect(before.flat().filter((id) => id !== undefined)).toHaveLength(6);
  expect(idsOf(await open())).toEqual(before);
  await first.authorities.x509.prepare();
  await first.authorities.jwt.prepare();
  await wit.prepare();
  const prepared = idsOf(first);
  expect(prepared.map(([, , old]) => old)).toEqual([undefined, undefined, undefined]);
  const bundle = await stage.bundle();
  const last = await open();
  expect(idsOf(last)).toEqual(prepared);
  expect(await stage.bundle()).toEqual(bundle);
  verifyX509(await issueSvid(last), bundle);
});

test("authorities whose keys were lost are old ones, and new ones sign", async () => {
  const first = await open();
  const lost = idsOf(first);
  rmSync(join(stage.directory, "keys.json"));
  const next = idsOf(await open());
  expect(next.map(([, , old]) => old)).toEqual(lost.map(([active]) => active));
  expect(next.map(([active]) => active)).not.toEqual(lost.map(([active]) => active));
});

test("taint marks survive a restart; what was revoked stays away", async () => {
  const first = await stage.open();
  const [oldX509, oldJwt] = idsOf(first).map(([active]) => active);
  await first.authorities.x509.activate(await first.authorities.x509.prepare());
  await first.authorities.jwt.activate(await first.authorities.jwt.prepare());
  const { bundles } = await stage.store();
  const taintFirst = <T extends object>([one, ...more]: readonly T[]): T[] =>
    one === undefined ? [] : [{ ...one, tainted: true }, ...more];
  await bundles.update("example.org", (bundle) => ({
    ...bundle,
    x509Authorities: taintFirst(bundle.x509Authorities),
    jwtAuthorities: taintFirst(bundle.jwtAuthorities),
  }));
  const second = await stage.open();
  expect(idsOf(second).map(([, , old]) => old)).toEqual([oldX509, oldJwt, undefined]);
  const { x509Authorities, jwtAuthorities } = await stage.bundle();
  expect(x509Authorities.map(({ tainted }) => tainted)).toEqual([true, false]);
  expect(jwtAuthorities.map(({ tainted }) => tainted)).toEqual([true, false]);
  await bundles.update("example.org", (bundle) => ({
    ...bundle,
    x509Authorities: x509Authorities.slice(1),
    jwtAuthorities: jwtAuthorities.slice(1),
  }));
  const third = await stage.open();
  expect(idsOf(third).map(([, , old]) => old)).toEqual([undefined, undefined, undefined]);
  expect((await stage.bundle()).x509Authorities).toEqual(x509Authorities.slice(1));
});

test("without JWT-SVIDs there is no key for them, and the bundle has none", async () => {
  const manager = await stage.open({ jwtSvidsDisabled: true });
  expect(manager.authorities.jwt.state.active).toBeUndefined();
  expect((await stage.bundle()).jwtAuthorities).toEqual([]);
});

test("WIT-SVIDs that are switched off leave no key; switched on again, the one from before signs", async () => {
  const on = await open();
  const [, , [key] = []] = idsOf(on);
  const { witAuthorities } = await stage.bundle();
  expect(witAuthorities.map(({ keyId }) => keyId)).toEqual([String(key)]);
  const { bundles } = await stage.store();
  await bundles.update("example.org", (bundle) => ({ ...bundle, witAuthorities: [] }));
  const off = await stage.open();
  expect((await stage.bundle()).witAuthorities).toEqual([]);
  expect(off.authorities.wit).toBeUndefined();
  const refusal = await issueWit(off).catch(({ message }: Error) => message);
  expect(refusal).toBe("WIT key is not available for signing");
  expect(idsOf(await open())).toEqual(idsOf(on));
  expect((await stage.bundle()).witAuthorities).toEqual(witAuthorities);
  const never = new CaStage();
  await never.open();
  expect((await never.bundle()).witAuthorities).toEqual([]);
  await never.close();
});

test("no WIT-SVID is for another trust domain, whoever asks", async () => {
  const manager = await open();
  const { publicKey } = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
  const id = SpiffeId.parse("spiffe://other.org/workload");
  const svid = manager.witSvid({ id, publicKey, algorithm: "ES256" });
  expect(await svid.catch(({ message }: Error) => message)).toStartWith("invalid WIT-SVID ID: ");
});

test.each([
  [0, 3600],
  [-5, 3600],
  [60, 60],
  [1_000_000, 7200],
])(
  "an SVID asked for %i s lives for %i s, at most as long as what signs it",
  async (asked, given) => {
    const manager = await stage.open({ caTtlSeconds: 7200, witSvids: WIT_SVIDS });
    const now = stage.clock.nowSeconds();
    const { publicKeySpki } = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
    const fields = { id: WORKLOAD, ttlSeconds: asked };
    const x509 = await manager.x509Svid({ ...fields, publicKeySpki });
    const jwt = await manager.jwtSvid({ ...fields, audience: ["a"] });
    const wit = await issueWit(manager, asked);
    const lives = [x509, jwt, wit].map(({ expiresAt }) => expiresAt - now);
    expect(lives).toEqual([given, asked > 0 ? given : 300, given]);
  },
);

/** A second goes by, and whatever falls due in it is done. */
async function passSecond(): Promise<void> {
  let left = 1000;
  while (left > 0) {
    const step = Math.min(left, await stage.clock.untilNext());
    stage.clock.pass(step);
    left -= step;
  }
  await stage.clock.untilNext();
}
