import { expect, test } from "bun:test";
import { makeWorkloadEntry } from "#agent/cache/workload-entry.fixture.ts";
import type { WorkloadEntry } from "#agent/cache/workload-entry.ts";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { signJwt } from "#jwt/sign.ts";
import { NewJWTSVIDResponse } from "#proto/spire/api/server/svid/v1/svid.ts";
import { StatusCode, StatusError } from "#spiffe/status-error.ts";
import { generatePrivateKey, signerFromPrivateKey } from "#x509/keys.ts";
import { JwtSvids } from "./jwt-svids.ts";
import { serve } from "./server.fixture.ts";

const LIFE = 300;
const signer = signerFromPrivateKey(await generatePrivateKey("ec-p256"));
const entry = (more: Partial<WorkloadEntry> = {}) => makeWorkloadEntry("a", more);

const codeOf = (error: unknown): unknown => (error instanceof StatusError ? error.code : error);

async function stand(maxSize = 10) {
  const clock = new ManualClock();
  const state = { keyId: "first", asked: 0, isAway: false };
  const server = await serve({
    svid: {
      newJwtsvid: async ({ audience }) => {
        state.asked++;
        if (state.isAway) throw new StatusError(StatusCode.UNAVAILABLE, "not now");
        const issuedAt = clock.nowSeconds();
        const expiresAt = issuedAt + LIFE;
        const claims = {
          sub: "spiffe://example.org/a",
          aud: audience,
          iat: issuedAt,
          exp: expiresAt,
        };
        const token = await signJwt({
          signer,
          keyId: state.keyId,
          type: "JWT",
          claims: { ...claims, jti: String(state.asked) },
        });
        return NewJWTSVIDResponse.fromPartial({ svid: { token, issuedAt, expiresAt } });
      },
    },
  });
  const svids = new JwtSvids(clock, maxSize);
  return {
    clock,
    state,
    svids,
    token: async (audience = "x", more: Partial<WorkloadEntry> = {}) =>
      (await svids.svid(server.clients.svid, entry(more), [audience])).token,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

test("a token is handed out until half of its life is over, and asked for once by many", async () => {
  await using one = await stand();
  const [first, second] = await Promise.all([one.token(), one.token()]);
  expect(second).toBe(first);
  one.clock.pass((LIFE / 2) * 1000 - 1);
  expect(await one.token()).toBe(first);
  one.clock.pass(1);
  expect(await one.token()).not.toBe(first);
  expect(one.state.asked).toBe(2);
});

test("while the server is away the old token is handed out until it expires", async () => {
  await using one = await stand();
  const first = await one.token();
  one.state.isAway = true;
  one.clock.pass(LIFE * 1000 - 1);
  expect(await one.token()).toBe(first);
  one.clock.pass(1);
  expect(await one.token().catch(codeOf)).toBe(StatusCode.UNAVAILABLE);
});

test("a token with an ID of its own is handed out once, even to those who ask at the same time", async () => {
  await using one = await stand();
  const once = { jwtSvidsOnce: true };
  const tokens = await Promise.all([one.token("x", once), one.token("x", once)]);
  tokens.push(await one.token("x", once));
  expect(new Set(tokens).size).toBe(3);
  one.state.isAway = true;
  expect(await one.token("x", once).catch(codeOf)).toBe(StatusCode.UNAVAILABLE);
});

test("a token of a key that is tainted or gone is not handed out any more", async () => {
  await using one = await stand();
  const first = await one.token();
  one.state.keyId = "second";
  const second = await one.token("y");
  one.svids.keepSignedBy(new Set(["second", "third"]));
  expect(await one.token("y")).toBe(second);
  expect(await one.token()).not.toBe(first);
});

test("the token used longest ago makes room for another", async () => {
  await using one = await stand(2);
  const [x, y] = [await one.token("x"), await one.token("y")];
  await one.token("x");
  await one.token("z");
  expect(await one.token("x")).toBe(x);
  expect(await one.token("y")).not.toBe(y);
});
