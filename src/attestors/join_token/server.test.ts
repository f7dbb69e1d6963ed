import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import type { FoundToken, JoinTokenClaim, NodeAttestation } from "#attestors/attestor.ts";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { createJoinTokenServer, REPEAT_SECONDS } from "./server.ts";

const NOW = 1_700_000_000;
const KEY = Uint8Array.of(1, 2, 3);
const MISSING = "failed to attest: join token does not exist or has already been used";

/** Shows a token to a server that has this record of it. */
async function attest(
  token: string,
  found: FoundToken | undefined,
): Promise<{ attestation: NodeAttestation; asked: readonly JoinTokenClaim[] }> {
  const asked: JoinTokenClaim[] = [];
  const server = createJoinTokenServer({
    trustDomain: TrustDomain.parse("example.org"),
    clock: new ManualClock(NOW),
    joinTokens: {
      find: async (claim) => {
        asked.push(claim);
        return found;
      },
    },
  });
  const noChallenge = (): Promise<never> => Promise.reject(new Error("nothing is to be answered"));
  const attestation = await server.attest(new TextEncoder().encode(token), noChallenge, {
    publicKeySpki: KEY,
  });
  return { attestation, asked };
}

describe("a join token", () => {
  test("is good up to the second in which it expires, and names the agent", async () => {
    const { attestation, asked } = await attest("a-token", { expiresAt: NOW });
    const claim: JoinTokenClaim = {
      token: "a-token",
      publicKeySha256: createHash("sha256").update(KEY).digest(),
      now: NOW,
      usedSince: NOW - REPEAT_SECONDS,
    };
    expect(asked).toEqual([claim]);
    expect(attestation).toEqual({
      agentId: "spiffe://example.org/spire/agent/join_token/a-token",
      selectors: [],
      canReattest: false,
      joinToken: claim,
    });
  });

  test("for a node from before gives it its name again", async () => {
    const rejoins = "spiffe://example.org/spire/agent/join_token/first";
    const { attestation } = await attest("second", { expiresAt: NOW, rejoins });
    expect(attestation.agentId).toBe(rejoins);
  });

  test.each<[string, string, FoundToken | undefined, string]>([
    ["has expired", "a-token", { expiresAt: NOW - 1 }, "join token expired"],
    ["nobody knows", "a-token", undefined, MISSING],
    ["is empty", "", { expiresAt: NOW }, MISSING],
    ["cannot end an ID", "a/token", { expiresAt: NOW }, MISSING],
    ["is too long", "a".repeat(1025), { expiresAt: NOW }, MISSING],
  ])("that %s is refused", async (_, token, found, message) => {
    expect(await attest(token, found).catch((error: unknown) => error)).toMatchObject({
      code: StatusCode.INVALID_ARGUMENT,
      message,
    });
  });
});
