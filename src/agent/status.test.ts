import { expect, test } from "bun:test";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { agentStatus } from "./status.ts";

const NOW = 1_700_000_000;
const AT_NOON = { rotatesAt: NOW + 100, lastSyncSuccess: NOW - 10 };

function textOf(
  membership: {
    readonly rotatesAt: number | undefined;
    readonly lastSyncSuccess: number;
    readonly joinProblem?: string;
  },
  cache: { readonly renewAt?: number; readonly isServerAway?: boolean } = {},
): Promise<string> {
  const { text } = agentStatus({
    config: {
      trustDomain: TrustDomain.parse("example.org"),
      serverAddress: "above",
      serverPort: 8081,
    },
    cache: {
      entries: new Map(),
      svidCount: 2,
      renewAt: Number.POSITIVE_INFINITY,
      isServerAway: false,
      onChange: () => () => {},
      ...cache,
    },
    membership: { joinProblem: "", status: undefined, ...membership, whenChanged: () => {} },
    clock: new ManualClock(NOW),
  });
  return text();
}

const line = (server: string, next: string): string =>
  `Agent of trust domain example.org; server above:8081 ${server}; entries: 0; X509-SVIDs: 2; next rotation ${next}`;

test("the next rotation is that of the agent's own SVID or of a workload's, whichever comes first", async () => {
  expect(await textOf(AT_NOON)).toBe(line("connected", "2023-11-14 22:15:00 UTC"));
  expect(await textOf(AT_NOON, { renewAt: NOW + 40.5 })).toBe(
    line("connected", "2023-11-14 22:14:00 UTC"),
  );
  expect(await textOf(AT_NOON, { renewAt: 0 })).toBe(line("connected", "now"));
});

test("a server that is away is said to be, since when, and one that never answered as well", async () => {
  const next = "2023-11-14 22:15:00 UTC";
  expect(await textOf(AT_NOON, { isServerAway: true })).toBe(
    line("away, last reached 2023-11-14 22:13:10 UTC", next),
  );
  const restarted = { ...AT_NOON, lastSyncSuccess: 0 };
  expect(await textOf(restarted, { isServerAway: true })).toBe(line("not reached yet", next));
  expect(await textOf({ rotatesAt: undefined, lastSyncSuccess: 0 })).toBe(
    line("not joined", "none"),
  );
  const joinProblem = "the name above does not resolve";
  expect(await textOf({ rotatesAt: undefined, lastSyncSuccess: 0, joinProblem })).toBe(
    line(`not joined: ${joinProblem}`, "none"),
  );
});
