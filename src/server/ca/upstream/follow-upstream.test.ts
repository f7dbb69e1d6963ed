/** A CA Manager below another one, which is its upstream by calls in this process. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  revokeJwtAuthority,
  revokeX509Authority,
  taintJwtAuthority,
  taintX509Authority,
} from "#server/ca/authority/taint.ts";
import { CaStage, issueSvid } from "#server/ca/ca.fixture.ts";
import type { CaManager } from "#server/ca/ca-manager.ts";
import type { Bundle } from "#spiffe/bundle.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import type { UpstreamAuthority } from "#upstream/upstream-authority.ts";
import { parseCsr } from "#x509/csr.ts";
import { leadsTo } from "#x509/leads-to.ts";

let above: CaStage;
let below: CaStage;
let root: CaManager;
/** Whether the root can be reached. */
let isUp: boolean;
/** How often the root's bundle was asked for. */
let fetches: number;
beforeEach(async () => {
  above = new CaStage();
  below = new CaStage();
  root = await above.open();
  isUp = true;
  fetches = 0;
});
afterEach(async () => {
  await below.close();
  await above.close();
});

function upstream(): UpstreamAuthority {
  const reach = (): void => {
    if (!isUp) throw new StatusError(StatusCode.UNAVAILABLE, "out of reach");
  };
  return {
    name: "above",
    problem: undefined,
    currentVersion: async () => "above",
    mintX509Ca: async (csr, ttlSeconds) => {
      reach();
      const { publicKeySpki } = parseCsr(csr);
      const { chain } = await root.downstreamCa({ publicKeySpki, ttlSeconds });
      const { x509Authorities } = await above.bundle();
      return { caChain: chain, upstreamRoots: x509Authorities, version: "above" };
    },
    fetchBundle: async () => {
      reach();
      fetches++;
      return above.bundle();
    },
    publishJwtKey: async (key) => {
      reach();
      return (await root.publishJwtKey(key)).jwtAuthorities;
    },
  };
}

const open = (): Promise<CaManager> => below.open({ upstream: upstream() });

async function change(stage: CaStage, to: (bundle: Bundle) => Bundle): Promise<void> {
  const { bundles } = await stage.store();
  await bundles.update("example.org", to);
}

/** Lets the upstream be looked at, again and again, until the bundle below is as wanted. */
async function looked(wanted: (bundle: Bundle) => boolean): Promise<Bundle> {
  for (;;) {
    const bundle = await below.bundle();
    if (wanted(bundle)) return bundle;
    below.clock.pass(5000);
    await Bun.sleep(1);
  }
}

const keyIds = ({ jwtAuthorities }: Bundle): string[] => jwtAuthorities.map(({ keyId }) => keyId);
const isTainted = ({ x509Authorities }: Bundle): boolean =>
  x509Authorities.some(({ tainted }) => tainted);

/** The root's CA gives way to another. @returns the ID of the old one */
async function replaceRoot(): Promise<string> {
  const { x509 } = root.authorities;
  await x509.activate(await x509.prepare());
  return x509.state.old?.authorityId ?? "";
}

test("the CA is below the root, and a JWT key is known above before it signs", async () => {
  const manager = await open();
  const { chain } = await issueSvid(manager);
  const roots = (await above.bundle()).x509Authorities.map(({ certificate }) => certificate);
  expect(leadsTo(chain, roots, below.clock.nowSeconds())).toBe(true);
  const { authorityId } = await manager.authorities.jwt.prepare();
  expect(keyIds(await above.bundle())).toContain(authorityId);
  expect(keyIds(await below.bundle()).toSorted()).toEqual(keyIds(await above.bundle()).toSorted());
});

test("an upstream that takes no keys is named in the log once; the key is in the bundle here", async () => {
  const { publishJwtKey: _, ...deaf } = upstream();
  const manager = await below.open({ upstream: deaf });
  const { authorityId } = await manager.authorities.jwt.prepare();
  expect(keyIds(await below.bundle())).toContain(authorityId);
  expect(keyIds(await above.bundle())).toHaveLength(1);
  expect(below.logged.filter((line) => line.includes("takes no JWT keys"))).toHaveLength(1);
});

test("a key that the root does not take signs nothing and is in no bundle", async () => {
  const manager = await open();
  const before = [manager.authorities.jwt.state, await below.bundle()];
  isUp = false;
  const outcome = await manager.authorities.jwt.prepare().catch((error: unknown) => error);
  expect(outcome).toMatchObject({ code: StatusCode.UNAVAILABLE });
  expect([manager.authorities.jwt.state, await below.bundle()]).toEqual(before);
});

test("a first CA is waited for; one that is there goes on without the root, and its key gets known later", async () => {
  isUp = false;
  const opening = open();
  await below.clock.untilNext();
  isUp = true;
  below.clock.pass(1000);
  const first = await opening;
  below.clock.pass(3600_000 * 0.6);
  isUp = false;
  const second = await open();
  expect(second.authorities.x509.state.active?.authorityId).toBe(
    first.authorities.x509.state.active?.authorityId ?? "",
  );
  const key = second.authorities.jwt.state.active?.authorityId ?? "";
  await change(above, (bundle) => ({ ...bundle, jwtAuthorities: [] }));
  isUp = true;
  second.start();
  while (!keyIds(await above.bundle()).includes(key)) {
    below.clock.pass(5000);
    await Bun.sleep(1);
  }
});

test("below a tainted root the CA is replaced first, then the taint is told; what is revoked above goes", async () => {
  const manager = await open();
  manager.start();
  const first = manager.authorities.x509.state.active;
  const old = await replaceRoot();
  await change(above, (bundle) => taintX509Authority(bundle, old));
  const bundle = await looked(isTainted);
  expect(manager.authorities.x509.state.active?.authorityId).not.toBe(first?.authorityId ?? "");
  const tainted = bundle.x509Authorities.filter((authority) => authority.tainted);
  const { chain } = await issueSvid(manager);
  const roots = tainted.map(({ certificate }) => certificate);
  expect(leadsTo(chain, roots, below.clock.nowSeconds())).toBe(false);
  await change(above, (now) => revokeX509Authority(now, old));
  expect((await looked((now) => !isTainted(now))).x509Authorities).toHaveLength(1);
});

test("a root that is tainted and revoked between two looks is left, told to be tainted, and then gone", async () => {
  const manager = await open();
  manager.start();
  await looked(() => fetches > 1);
  const first = manager.authorities.x509.state.active;
  const old = await replaceRoot();
  await change(above, (bundle) => revokeX509Authority(taintX509Authority(bundle, old), old));
  await looked(isTainted);
  expect(manager.authorities.x509.state.active?.authorityId).not.toBe(first?.authorityId ?? "");
  expect((await looked((now) => !isTainted(now))).x509Authorities).toHaveLength(1);
});

test("a taint is not told as long as the CA cannot be replaced", async () => {
  const manager = await open();
  const old = await replaceRoot();
  await change(above, (bundle) => taintX509Authority(bundle, old));
  let refusals = 0;
  const down = (await below.open({
    upstream: {
      ...upstream(),
      mintX509Ca: async () => {
        refusals++;
        throw new StatusError(StatusCode.PERMISSION_DENIED, "no entry");
      },
    },
  })) satisfies CaManager;
  down.start();
  await looked(() => refusals > 1);
  expect(isTainted(await below.bundle())).toBe(false);
  expect(down.authorities.x509.state.active?.authorityId).toBe(
    manager.authorities.x509.state.active?.authorityId ?? "",
  );
});

test("a JWT key that was revoked here does not come back from above", async () => {
  const manager = await open();
  const { jwt } = manager.authorities;
  await jwt.activate(await jwt.prepare());
  const old = jwt.state.old?.authorityId ?? "";
  await change(below, (bundle) => revokeJwtAuthority(taintJwtAuthority(bundle, old), old));
  manager.start();
  const { authorityId } = await root.authorities.jwt.prepare();
  const bundle = await looked((now) => keyIds(now).includes(authorityId));
  expect(keyIds(bundle)).not.toContain(old);
  expect(keyIds(await above.bundle())).toContain(old);
  await manager.authorities.jwt.prepare();
  expect(keyIds(await below.bundle())).not.toContain(old);
});
