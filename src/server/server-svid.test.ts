import { expect, test } from "bun:test";
import type { Clock } from "#clock/clock.ts";
import { createLog } from "#log/log.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { ServerSvid } from "./server-svid.ts";

const log = createLog({ level: "panic", format: "text" }, () => 0, { write: () => undefined });

test("the SVID is looked at every five seconds and replaced after half of its life", async () => {
  let now = 1000;
  let issued = 0;
  const sleeps: number[] = [];
  const clock: Pick<Clock, "nowSeconds" | "sleep"> = {
    nowSeconds: () => now,
    sleep: async (milliseconds) => {
      sleeps.push(milliseconds);
      now += milliseconds / 1000;
      if (sleeps.length > 10) await new Promise(() => undefined);
    },
  };
  const ca = {
    serverSvid: async () => ({
      id: SpiffeId.parse("spiffe://example.org/spire/server"),
      chain: [Uint8Array.of(++issued)],
      serialNumber: String(issued),
      notBefore: now,
      expiresAt: now + 48,
    }),
  };
  const svid = await ServerSvid.issue({ ca, keyType: "ec-p256", clock: clock as Clock, log });
  const first = svid.identity;
  const shown: { at: number; isNew: boolean }[] = [];
  svid.rotate((identity) => {
    shown.push({ at: now, isNew: identity.privateKeyPem !== first.privateKeyPem });
  });
  while (sleeps.length <= 10) await Bun.sleep(5);
  expect(new Set(sleeps)).toEqual(new Set([5000]));
  expect(shown).toEqual([
    { at: 1025, isNew: true },
    { at: 1050, isNew: true },
  ]);
});
