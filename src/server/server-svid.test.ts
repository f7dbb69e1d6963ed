import { afterEach, beforeEach, expect, test } from "bun:test";
import { createLog } from "#log/log.ts";
import { taintX509Authority } from "#server/ca/authority/taint.ts";
import { CaStage } from "#server/ca/ca.fixture.ts";
import type { CaManager } from "#server/ca/ca-manager.ts";
import { noMetrics } from "#telemetry/metrics.ts";
import { ServerSvid } from "./server-svid.ts";

const log = createLog({ level: "panic", format: "text" }, () => 0, { write: () => undefined });

let stage: CaStage;
beforeEach(() => {
  stage = new CaStage();
});
afterEach(() => stage.close());

async function issue(ca: Pick<CaManager, "serverSvid">): Promise<ServerSvid> {
  const { clock, trustDomain } = stage;
  const store = await stage.store();
  return ServerSvid.issue({
    ca,
    store,
    trustDomain,
    keyType: "ec-p256",
    clock,
    metrics: noMetrics,
    log,
  });
}

test("the SVID is looked at every five seconds and replaced after half of its life", async () => {
  const manager = await stage.open({ caTtlSeconds: 38 });
  const svid = await issue(manager);
  const start = stage.clock.nowSeconds();
  const shown: number[] = [];
  const task = svid.rotate(() => void shown.push(stage.clock.nowSeconds() - start));
  const waits: number[] = [];
  // Ten seconds into the past and 38 ahead: half is over 14 seconds from now.
  for (let passed = 0; passed < 17_000; ) {
    const wait = await stage.clock.untilNext();
    waits.push(wait);
    stage.clock.pass(wait);
    passed += wait;
  }
  await stage.clock.untilNext();
  expect(waits).toEqual([5000, 5000, 4000, 1000, 5000]);
  expect(shown).toEqual([15]);
  await task.stop();
});

test("an SVID is replaced when the clock was set back to before it begins", async () => {
  const svid = await issue(await stage.open());
  const { promise: rotated, resolve } = Promise.withResolvers<typeof svid.identity>();
  const task = svid.rotate(resolve);
  stage.clock.pass(-60_000);
  // A change of the bundle is what has the SVID looked at here: the clock of a test sets its timers back as well.
  const { bundles } = await stage.store();
  await bundles.update("example.org", (bundle) => ({ ...bundle, refreshHint: 60 }));
  await rotated;
  await task.stop();
});

test("an SVID of the authority that was tainted is replaced at once, and only then", async () => {
  const manager = await stage.open();
  const { x509 } = manager.authorities;
  const svid = await issue(manager);
  const identity = svid.identity;
  const issuer = x509.state.active?.authorityId;
  const { promise: rotated, resolve } = Promise.withResolvers<typeof identity>();
  const task = svid.rotate(resolve);
  const taint = async (subjectKeyId: string | undefined): Promise<void> => {
    const { bundles } = await stage.store();
    await bundles.update("example.org", (bundle) => taintX509Authority(bundle, subjectKeyId ?? ""));
  };
  await x509.activate(await x509.prepare());
  await x509.activate(await x509.prepare());
  await taint(x509.state.old?.authorityId);
  // The check after this taint found nothing to do: it ends before `stop` does.
  await task.stop();
  expect(svid.identity).toBe(identity);
  const again = svid.rotate(resolve);
  await taint(issuer);
  expect((await rotated).certificateChainPem).not.toBe(identity.certificateChainPem);
  await again.stop();
  expect(svid.identity).toBe(await rotated);
});
