import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AgentSvid } from "#agent/attestation/agent-svid.ts";
import { JoinFile } from "#agent/attestation/join-file.ts";
import { type Answers, quiet, serve, until } from "#agent/sync/server.fixture.ts";
import { CannotAttestError, type NodeAttestorAgent } from "#attestors/attestor.ts";
import { createJoinTokenAgent } from "#attestors/join_token/agent.ts";
import { ManualClock } from "#clock/manual-clock.fixture.ts";
import { MemoryKeyManager } from "#keymanager/memory/memory.ts";
import { AttestAgentResponse, RenewAgentResponse } from "#proto/spire/api/server/agent/v1/agent.ts";
import { type PermissionDeniedReason, StatusCode, StatusError } from "#spiffe/status-error.ts";
import { TrustDomain } from "#spiffe/trust-domain.ts";
import { noMetrics } from "#telemetry/metrics.ts";
import { parseCsr } from "#x509/csr.ts";
import { make, NOW } from "#x509/pki.fixture.ts";
import { parseX509SvidChain } from "#x509/svid.ts";
import { OwnSvid } from "./own-svid.ts";
import type { Connection } from "./server-link.ts";
import { TaintedAuthorities } from "./taint.ts";

const trustDomain = TrustDomain.parse("example.org");
const random = { bytes: () => new Uint8Array(), uuid: () => "", fraction: () => 0.5 };
const authority = await make({ name: "authority", isCa: true });
const HALF_MS = 1770 * 1000;

async function certify(publicKeySpki: Uint8Array, ahead = 0): Promise<Uint8Array> {
  const uri = "spiffe://example.org/spire/agent/test";
  const times = { notBefore: NOW + ahead - 60, notAfter: NOW + ahead + 3600 };
  return (await make({ name: "agent", issuer: authority, uri, publicKeySpki, ...times }))
    .certificate.der;
}

interface Scene {
  readonly reattestable?: boolean;
  /** What the server throws instead of an answer, call by call. */
  readonly renew?: unknown[];
  readonly attest?: unknown[];
  readonly attestor?: () => Promise<NodeAttestorAgent>;
  readonly joinFile?: string;
}

/** An agent with an SVID that lives an hour, and a server to renew and to attest. */
async function stand(scene: Scene = {}) {
  const { reattestable = false, renew = [], attest = [], attestor, joinFile } = scene;
  const seen: string[] = [];
  const clock = new ManualClock(NOW);
  const ahead = (): number => clock.nowSeconds() - NOW;
  const agent: Answers["agent"] = {
    renewAgent: async ({ params }) => {
      seen.push("renew");
      const failure = renew.shift();
      if (failure !== undefined) throw failure;
      const { publicKeySpki } = parseCsr(params?.csr ?? new Uint8Array());
      return RenewAgentResponse.fromPartial({
        svid: { certChain: [await certify(publicKeySpki, ahead())] },
      });
    },
    attestAgent: async (requests, _context, send) => {
      for await (const { step } of requests) {
        seen.push("attest");
        const failure = attest.shift();
        if (failure !== undefined) throw failure;
        const csr = step?.$case === "params" ? step.value.params?.csr : undefined;
        const { publicKeySpki } = parseCsr(csr ?? new Uint8Array());
        const svid = { certChain: [await certify(publicKeySpki, ahead())] };
        const result = { svid, reattestable };
        await send(AttestAgentResponse.fromPartial({ step: { $case: "result", value: result } }));
      }
    },
  };
  const server = await serve({ agent });
  const keys = new MemoryKeyManager();
  const key = await keys.generateKey("agent-svid-A", "ec-p256");
  const chain = [await certify(key.publicKeySpki)];
  let svid: AgentSvid = { ...parseX509SvidChain(chain), chain, key, reattestable };
  let replaced = new AbortController();
  const connection = (): Connection => ({ clients: server.clients, replaced: replaced.signal });
  const own = new OwnSvid({
    link: {
      get svid() {
        return svid;
      },
      roots: [authority.certificate.der],
      clients: server.clients,
      get connection() {
        return connection();
      },
      connectAnonymously: () => ({ ...server.clients, close: () => {} }),
      takeSvid: async (taken) => {
        svid = taken;
        replaced.abort();
        replaced = new AbortController();
      },
      dropSvid: async () => void seen.push("drop"),
    },
    trustDomain,
    keys,
    bootstrap: { disagreed: async () => false, bundle: async () => [] },
    openAttestor: attestor ?? (async () => createJoinTokenAgent("token")),
    joinFile: new JoinFile(joinFile, clock),
    onRevived: () => void seen.push("revived"),
    rotation: { random },
    tainted: new TaintedAuthorities(),
    firstPauseMs: 5000,
    maxPauseMs: 60_000,
    clock,
    metrics: noMetrics,
    log: quiet,
  });
  const stop = new AbortController();
  return {
    own,
    seen,
    clock,
    connection,
    start: () => own.run(stop.signal),
    slot: () => svid.key.id,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await server[Symbol.asyncDispose]();
    },
  };
}

const refusal = (reason: PermissionDeniedReason): StatusError =>
  new StatusError(StatusCode.PERMISSION_DENIED, "authorization denied", { reason });
const away = new StatusError(StatusCode.UNAVAILABLE, "not now");
const spent = new StatusError(StatusCode.INVALID_ARGUMENT, "join token was already used");
const noToken = async (): Promise<NodeAttestorAgent> => {
  throw new CannotAttestError("no token");
};

test("it is renewed at half of its life, with a key in the other slot", async () => {
  await using one = await stand();
  const running = one.start();
  one.clock.pass(HALF_MS - 1);
  await one.clock.untilNext();
  expect(one.seen).toEqual([]);
  one.clock.pass(30_000);
  await until(() => one.slot() === "agent-svid-B");
  expect(one.seen).toEqual(["renew"]);
  one.clock.pass(HALF_MS + 30_000);
  await until(() => one.slot() === "agent-svid-A");
  void running;
});

test("a node that can prove itself again is attested anew instead", async () => {
  await using one = await stand({ reattestable: true });
  void one.start();
  one.clock.pass(HALF_MS);
  await until(() => one.slot() === "agent-svid-B");
  expect(one.seen).toEqual(["attest"]);
});

test("a renewal that fails is repeated after growing pauses", async () => {
  await using one = await stand({ renew: [away, away] });
  one.clock.pass(HALF_MS);
  void one.start();
  for (const pause of [5000, 7500]) {
    expect(await one.clock.untilNext()).toBe(pause);
    one.clock.pass(pause);
  }
  await until(() => one.slot() === "agent-svid-B");
});

test.each<[string, Scene, string[], string | undefined]>([
  [
    "must reattest, and can",
    { renew: [refusal("AGENT_MUST_REATTEST")] },
    ["renew", "attest"],
    undefined,
  ],
  ["was banned", { renew: [refusal("AGENT_BANNED")] }, ["renew", "drop"], "Agent is banned"],
  [
    "was evicted, and its token is spent",
    { renew: [refusal("AGENT_NOT_ATTESTED")], attest: [spent] },
    ["renew", "attest", "drop"],
    "Agent failed re-attestation",
  ],
  [
    "was evicted, and has no token",
    { renew: [refusal("AGENT_NOT_ATTESTED")], attestor: noToken },
    ["renew", "drop"],
    "Agent failed re-attestation",
  ],
  [
    "was evicted while the server goes away",
    { renew: [refusal("AGENT_NOT_ATTESTED"), refusal("AGENT_NOT_ATTESTED")], attest: [away] },
    ["renew", "attest", "renew", "attest"],
    undefined,
  ],
])("an agent that %s", async (_name, scene, steps, end) => {
  await using one = await stand(scene);
  one.clock.pass(HALF_MS);
  const ended = one.start().then(() => undefined, String);
  if (end === undefined) {
    // Only while it waits: time that passes during a call would end the SVID's life.
    while (one.slot() !== "agent-svid-B") one.clock.pass(await one.clock.untilNext());
  } else expect(await ended).toContain(end);
  expect(one.seen).toEqual(steps);
});

test("an SVID that ran out by the server's clock alone costs no token and ends nothing", async () => {
  const expired = refusal("AGENT_EXPIRED");
  await using one = await stand({ renew: [expired, expired], attest: [spent, spent] });
  one.clock.pass(HALF_MS);
  void one.start();
  for (const pause of [5000, 7500]) {
    expect(await one.clock.untilNext()).toBe(pause);
    one.clock.pass(pause);
  }
  await until(() => one.slot() === "agent-svid-B");
  expect(await one.own.settle(expired, one.connection())).toBe(false);
  expect(one.seen).toEqual(["renew", "renew", "renew"]);
});

test("an SVID that ran out is tried to be replaced until there is a new token, and the agent goes on", async () => {
  let token = "spent";
  await using one = await stand({
    attest: [spent, spent],
    attestor: async () => createJoinTokenAgent(token),
  });
  one.clock.pass(2 * 3600 * 1000);
  void one.start();
  expect(one.own.isExpired).toBe(true);
  expect(await one.clock.untilNext()).toBe(5000);
  expect(await one.own.settle(refusal("AGENT_EXPIRED"), one.connection())).toBe(false);
  one.clock.pass(5000);
  expect(await one.clock.untilNext()).toBe(7500);
  token = "new";
  one.clock.pass(7500);
  await until(() => !one.own.isExpired);
  expect(one.seen).toEqual(["attest", "attest", "attest", "revived"]);
});

test("a token that is put into its file is tried at once", async () => {
  const directory = mkdtempSync(join(tmpdir(), "spire-own-svid-"));
  const joinFile = join(directory, "token");
  writeFileSync(joinFile, "spent");
  const attestor = async () => createJoinTokenAgent(readFileSync(joinFile, "utf8"));
  await using one = await stand({ attest: [spent], attestor, joinFile });
  one.clock.pass(2 * 3600 * 1000);
  void one.start();
  expect(await one.clock.untilNext()).toBe(1000);
  writeFileSync(joinFile, "good");
  one.clock.pass(1000);
  await until(() => !one.own.isExpired);
  expect(one.seen).toEqual(["attest", "attest", "revived"]);
  rmSync(directory, { recursive: true });
});

test("a call that was refused can be made again once the node is attested anew, by whichever call was first", async () => {
  await using one = await stand();
  const connection = one.connection();
  const error = refusal("AGENT_NOT_ATTESTED");
  const both = [one.own.settle(error, connection), one.own.settle(error, connection)];
  expect(await Promise.all(both)).toEqual([true, true]);
  expect(await one.own.settle(error, connection)).toBe(true);
  expect(one.seen).toEqual(["attest"]);
});

test("a refusal that follows an attestation at once does not bring another", async () => {
  await using one = await stand();
  await one.own.settle(refusal("AGENT_NOT_ATTESTED"), one.connection());
  expect(await one.own.settle(refusal("AGENT_NOT_ATTESTED"), one.connection())).toBe(false);
  expect(one.seen).toEqual(["attest"]);
});

test("a failure that is no refusal is none", async () => {
  await using one = await stand();
  expect(await one.own.settle(away, one.connection())).toBe(false);
  expect(one.seen).toEqual([]);
});

test("a tainted authority has it replaced at once, if it signed it", async () => {
  await using one = await stand();
  void one.start();
  await one.clock.untilNext();
  one.own.expedite(() => false);
  one.own.expedite(() => true);
  await until(() => one.slot() === "agent-svid-B");
  expect(one.seen).toEqual(["renew"]);
});
