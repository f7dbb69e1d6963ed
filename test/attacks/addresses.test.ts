/** Whoever has one IPv6 address has 2^64 of them: they share what one address may do. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { StatusCode } from "#spiffe/status-error.ts";
import { framed, RawCallers, rawCall } from "../support/raw-calls.ts";
import { Stage, TestServer } from "../support/spire.ts";

/** Attestations of one source are let in one a second. */
const EACH_MS = 1000;
const ATTEST = "/spire.api.server.agent.v1.Agent/AttestAgent";

const stage = new Stage();
const callers = new RawCallers();
let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours", {
    settings: 'proxy_protocol_trusted_cidrs = ["127.0.0.0/8"]',
  });
}, 60_000);

afterAll(async () => {
  callers.close();
  await stage.close();
}, 60_000);

/** Milliseconds until attestations from these addresses, begun at once, are all looked at. */
async function attestFrom(addresses: readonly string[]): Promise<number> {
  const sessions = await Promise.all(
    addresses.map((address) =>
      callers.tls(server.port, undefined, `PROXY TCP6 ${address} ::1 1 2\r\n`),
    ),
  );
  const began = performance.now();
  const endings = await Promise.all(
    sessions.map((session) => rawCall(session, ATTEST, framed(Buffer.alloc(0)))),
  );
  expect(new Set(endings.map(({ code }) => code))).toEqual(new Set([StatusCode.INVALID_ARGUMENT]));
  return performance.now() - began;
}

test("attestations from one network wait for each other", async () => {
  const one = [1, 2, 3, 4].map((n) => `2001:db8:1:2::${n}`);
  expect(await attestFrom(one)).toBeGreaterThan(2.5 * EACH_MS);
});

test("those from networks of their own do not", async () => {
  const several = [1, 2, 3, 4].map((n) => `2001:db8:9:${n}::1`);
  const began = performance.now();
  const each = [];
  for (const address of several) each.push(await attestFrom([address]));
  // One after the other, as slow as the machine is, and still none waited for another.
  expect(Math.min(...each)).toBeLessThan(EACH_MS);
  expect(performance.now() - began).toBeLessThan(several.length * EACH_MS);
});
