import { afterEach, beforeEach, expect, test } from "bun:test";
import { createLog } from "#log/log.ts";
import { CaStage, WIT_SVIDS } from "#server/ca/ca.fixture.ts";
import { pruneBundle } from "./prune-bundle.ts";

const DAY_SECONDS = 86_400;
const log = createLog({ level: "panic", format: "text" }, () => 0, { write: () => undefined });

let stage: CaStage;
beforeEach(() => {
  stage = new CaStage();
});
afterEach(() => stage.close());

async function pruneAt(now: number): Promise<void> {
  const { bundles } = await stage.store();
  await pruneBundle({ bundles, trustDomain: stage.trustDomain, log }, now);
}

test("authorities leave a day after their end, and the bundle counts on", async () => {
  const manager = await stage.open({ witSvids: WIT_SVIDS });
  const end = manager.authorities.x509.state.active?.notAfter ?? 0;
  stage.clock.pass(1800_000);
  await manager.authorities.x509.prepare();
  await manager.authorities.jwt.prepare();
  await manager.authorities.wit?.prepare();
  const before = await stage.bundle();
  await pruneAt(end + DAY_SECONDS - 1);
  expect(await stage.bundle()).toEqual(before);
  await pruneAt(end + DAY_SECONDS);
  const after = await stage.bundle();
  expect(after.x509Authorities).toEqual(before.x509Authorities.slice(1));
  expect(after.jwtAuthorities).toEqual(before.jwtAuthorities.slice(1));
  expect(before.witAuthorities).toHaveLength(2);
  expect(after.witAuthorities).toEqual(before.witAuthorities.slice(1));
  expect(after.sequenceNumber).toBe(before.sequenceNumber + 1);
});

test("the last CA stays, and a bundle that is not there is no error", async () => {
  await pruneAt(0);
  await stage.open();
  const before = await stage.bundle();
  await pruneAt(stage.clock.nowSeconds() + 100 * DAY_SECONDS);
  expect(await stage.bundle()).toEqual(before);
});
