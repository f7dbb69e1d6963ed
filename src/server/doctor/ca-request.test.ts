import { expect, test } from "bun:test";
import { State } from "#proto/spire_edge/ca/v1/ca.ts";
import { checkCaRequest } from "./ca-request.ts";

const NOW = 1_800_000_000;
const pending = { csrPath: "/csr", requestedAt: NOW - 60 };
const found = (state: Parameters<typeof State.fromPartial>[0]): string[] =>
  checkCaRequest(State.fromPartial(state), NOW).map(({ level, message }) => `${level} ${message}`);

test("a request that waits is a warning while a CA signs, and a failure without one", () => {
  expect(found({ active: { notAfter: NOW - 1 } })).toEqual([]);
  expect(found({ pending })).toEqual([
    "FAIL no X.509 CA signs: the request at /csr waits since 2027-01-15 07:59:00 +0000 UTC (1m0s ago)",
  ]);
  expect(found({ pending, active: { notAfter: NOW } })[0]).toStartWith("FAIL");
  const active = { notAfter: NOW + 3600 };
  expect(found({ pending, active })[0]).toEndWith("(in 1h0m0s)");
  expect(found({ pending, active, prepared: { notAfter: NOW + 7200 } })[0]).toEndWith(
    "(in 2h0m0s)",
  );
});
