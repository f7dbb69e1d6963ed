import { expect, test } from "bun:test";
import type { WorkloadSvid } from "#agent/workload-client/x509-svids.ts";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { systemRandom } from "#clock/random.ts";
import { createLog } from "#log/log.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";
import { JwtSvidFiles } from "./jwt-svids.ts";

const svid = (path: string): WorkloadSvid => ({
  id: SpiffeId.parse(`spiffe://example.org${path}`),
  hint: "",
  certificates: [],
  privateKey: new Uint8Array(),
  bundle: [],
  federatedBundles: [],
});
const WEB = svid("/web");

/** An agent that hands out tokens of that many seconds, until it is told not to. */
function stand(lifeSeconds: number) {
  const clock = new ManualClock();
  const lines: string[] = [];
  const write = (line: string): number => lines.push(line);
  const log = createLog({ level: "info", format: "text" }, () => 0, { write });
  const agent = { isAway: false, asked: 0 };
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const jwtSvid = async ({ id }: WorkloadSvid, aud: readonly string[]): Promise<string> => {
    agent.asked++;
    if (agent.isAway) throw new Error("nobody there");
    const claims = {
      sub: id.toString(),
      aud,
      exp: clock.nowSeconds() + lifeSeconds,
      n: agent.asked,
    };
    return [part({ alg: "ES256", kid: "k" }), part(claims), "c2ln"].join(".");
  };
  const files = [{ name: "jwt.token", audience: ["a"] }];
  const held = new JwtSvidFiles(files, { jwtSvid }, { clock, random: systemRandom, log });
  return { clock, agent, held, lines };
}

test("a token is fetched, kept for half of its life, and fetched anew", async () => {
  const { clock, agent, held } = stand(300);
  expect(held.tokens(WEB)).toBeUndefined();
  expect(await held.refresh(WEB)).toBe(150);
  const first = held.tokens(WEB)?.get("jwt.token");
  clock.pass(149_000);
  expect(await held.refresh(WEB)).toBe(1);
  expect(agent.asked).toBe(1);
  clock.pass(1000);
  await held.refresh(WEB);
  expect(held.tokens(WEB)?.get("jwt.token")).not.toBe(first);
});

test("while the agent is away the token stays, and tries go on; no token is ever in the log", async () => {
  const { clock, agent, held, lines } = stand(300);
  await held.refresh(WEB);
  const token = held.tokens(WEB)?.get("jwt.token") ?? "";
  agent.isAway = true;
  clock.pass(150_000);
  expect(await held.refresh(WEB)).toBe(5);
  expect(held.tokens(WEB)?.get("jwt.token")).toBe(token);
  expect(lines.join("")).toContain("nobody there");
  expect(lines.join("")).not.toContain(token.split(".")[1] ?? "");
});

test("a token of another SVID is none", async () => {
  const { held } = stand(300);
  await held.refresh(WEB);
  expect(held.tokens(svid("/other"))).toBeUndefined();
});

test("a token that is about to expire does not make it ask without a pause", async () => {
  const { held } = stand(2);
  expect(await held.refresh(WEB)).toBe(5);
});
