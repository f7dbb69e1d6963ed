import { expect, test } from "bun:test";
import { Block, Problems } from "#config/block.ts";
import { parseHcl } from "#config/hcl.ts";
import { type ExperimentalConfig, readExperimental } from "./experimental.ts";

function read(keys: string): ExperimentalConfig {
  const problems = new Problems("agent.conf");
  const block = new Block([parseHcl(keys, "agent.conf")], "the experimental block", problems);
  const config = readExperimental(block, problems);
  block.finish();
  problems.check();
  return config;
}

test("without the block, everything is as usual", () => {
  expect(read("")).toEqual({
    syncIntervalSeconds: 5,
    tlsPolicy: { minVersion: "TLSv1.2" },
    jwtSvidCacheHitTimeoutSeconds: 30,
    callRates: new Map(),
  });
});

test("the server's feature flag is taken, with a note", () => {
  const problems = new Problems("agent.conf");
  const file = parseHcl('feature_flags = ["wit-svid"]', "agent.conf");
  readExperimental(new Block([file], "the experimental block", problems), problems);
  problems.check();
  expect(problems.notes).toEqual([
    expect.stringMatching(/^agent.conf:1: feature flag wit-svid is not needed: ./),
  ]);
});

test("limits are by method, and none where there is nothing to limit", () => {
  const { callRates } = read("ratelimit {\n fetch_x509_svid = 5\n fetch_secrets = 0\n}");
  expect([...callRates]).toEqual([["/SpiffeWorkloadAPI/FetchX509SVID", 5]]);
});

test.each([
  [
    "ratelimit {\n fetch_jwt_svid = -1\n}",
    "agent.conf:2: experimental.ratelimit.fetch_jwt_svid must not be negative",
  ],
  [
    "ratelimit {\n fetch_jwt = 1\n}",
    'agent.conf:2: unknown configuration detected: key "fetch_jwt"',
  ],
  [
    'jwt_svid_cache_hit_timeout = "4s"',
    "agent.conf:1: jwt_svid_cache_hit_timeout must be at least 5s and less than 30s",
  ],
  ['jwt_svid_cache_hit_timeout = "30s"', "must be at least 5s and less than 30s"],
  [
    'named_pipe_name = "p"',
    "agent.conf:1: invalid configuration: named_pipe_name is not supported in this platform; please use socket_path instead",
  ],
  ["broker {}", "agent.conf:1: broker is not supported: "],
  ['feature_flags = ["wit"]', "agent.conf:1: unknown feature flag(s): wit"],
])("%j is refused", (keys, problem) => {
  expect(() => read(keys)).toThrow(problem);
});
