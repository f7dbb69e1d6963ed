import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { RenewAgentResponse } from "#grpc/gen/spire/api/server/agent/v1/agent.ts";
import type { GetAuthorizedEntriesResponse } from "#grpc/gen/spire/api/server/entry/v1/entry.ts";
import { EntryMask } from "#grpc/gen/spire/api/types/entry.ts";
import type { JoinToken } from "#grpc/gen/spire/api/types/jointoken.ts";
import {
  attest,
  identityOf,
  joinAgent,
  newKey,
  refused,
  startTestServer,
  type TestServer,
  unary,
} from "#server/server.fixture.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

const createToken = (ttl = 600, token = ""): Promise<JoinToken> =>
  unary((done) => server.local.agent.createJoinToken({ ttl, token, agentId: undefined }, done));
const countAgents = (): Promise<unknown> =>
  unary((done) => server.local.agent.countAgents({ filter: undefined }, done));

describe("a join token", () => {
  test("needs a time to live", async () => {
    expect(await refused(createToken(0))).toMatchObject({
      code: 3,
      details: "ttl is required, you must provide one",
    });
  });

  test("that cannot be part of a SPIFFE ID is refused without being quoted", async () => {
    const error = await createToken(600, "a/secret").catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 3 });
    expect(String(error)).not.toContain("secret");
  });

  test("lets one agent in, once", async () => {
    const { value: payload } = await createToken();
    const { csr } = await newKey();
    const client = server.remote().agent;
    const attempts = [1, 2, 3].map(() => attest(client, { payload, csr }));
    const outcomes = await Promise.allSettled(attempts);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === "fulfilled") continue;
      expect(outcome.reason).toMatchObject({
        code: 3,
        details: "failed to attest: join token does not exist or has already been used",
      });
    }
  });

  test("is not used up by a request that is wrong in itself", async () => {
    const { value: payload } = await createToken();
    const { csr } = await newKey();
    const client = server.remote().agent;
    const flipped = Uint8Array.from(csr);
    flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
    expect(await refused(attest(client, { payload, csr: Buffer.from("no CSR") }))).toMatchObject({
      code: 3,
      details: expect.stringContaining("failed to parse CSR"),
    });
    expect(await refused(attest(client, { payload, csr: flipped }))).toMatchObject({
      code: 3,
      details: expect.stringContaining("invalid CSR signature"),
    });
    expect(await attest(client, { payload, csr })).toMatchObject({ step: { $case: "result" } });
  });

  test("with an ID makes the entry through which the agent serves the ID's children", async () => {
    const agent = await joinAgent(server, "/rack-1");
    const { entries } = await unary<GetAuthorizedEntriesResponse>((done) =>
      agent.clients.entry.getAuthorizedEntries({ outputMask: undefined }, done),
    );
    expect(entries).toMatchObject([
      {
        parentId: agent.id,
        spiffeId: { path: "/rack-1" },
        selectors: [{ type: "spiffe_id", value: `spiffe://example.org${agent.id.path}` }],
      },
    ]);
  });
});

describe("attestation refuses", () => {
  test("an unknown type", async () => {
    const { csr } = await newKey();
    const params = { type: "nope", payload: "x", csr };
    expect(await refused(attest(server.remote().agent, params))).toMatchObject({
      code: 9,
      details: 'error getting node attestor: could not find node attestor type "nope"',
    });
  });

  test("a request without payload", async () => {
    const { csr } = await newKey();
    expect(await refused(attest(server.remote().agent, { payload: "", csr }))).toMatchObject({
      code: 3,
      details: "malformed param: missing attestation data payload",
    });
  });
});

describe("an attested agent", () => {
  test("is listed with its type, serial number and expiry, or only what the mask names", async () => {
    const { id } = await joinAgent(server);
    const agent = await unary((done) =>
      server.local.agent.getAgent({ id, outputMask: undefined }, done),
    );
    expect(agent).toMatchObject({
      id,
      attestationType: "join_token",
      x509svidSerialNumber: expect.stringMatching(/^\d+$/),
      banned: false,
      canReattest: false,
    });
  });

  test("may not do what operators do", async () => {
    const { clients } = await joinAgent(server);
    expect(
      await refused(unary((done) => clients.agent.countAgents({ filter: undefined }, done))),
    ).toMatchObject({
      code: 7,
      details: "authorization denied for method /spire.api.server.agent.v1.Agent/CountAgents",
    });
  });

  test("renews: the old SVID stays good until the new one was used", async () => {
    const { id, clients } = await joinAgent(server);
    const key = await newKey();
    const { svid } = await unary<RenewAgentResponse>((done) =>
      clients.agent.renewAgent({ params: { csr: key.csr } }, done),
    );
    const renewed = server.remote(identityOf(key, svid));
    const report = (who: typeof clients, agentVersion: string): Promise<unknown> =>
      unary((done) => who.agent.postStatus({ agentVersion, currentBundleSerial: 0 }, done));
    await report(clients, "1");
    await report(renewed, "2");
    expect(await refused(report(clients, "3"))).toMatchObject({ code: 7 });
    const agent = await unary((done) =>
      server.local.agent.getAgent({ id, outputMask: undefined }, done),
    );
    expect(agent).toMatchObject({ agentVersion: "2" });
  });

  test("does not renew with a request it did not sign", async () => {
    const { clients } = await joinAgent(server);
    const { csr } = await newKey();
    const flipped = Uint8Array.from(csr);
    flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
    expect(
      await refused(unary((done) => clients.agent.renewAgent({ params: { csr: flipped } }, done))),
    ).toMatchObject({ code: 3, details: expect.stringContaining("invalid CSR signature") });
  });

  test("that is banned is out at once and stays out", async () => {
    const { id, clients } = await joinAgent(server);
    await unary((done) => server.local.agent.banAgent({ id }, done));
    const sync = (): Promise<unknown> =>
      unary((done) =>
        clients.entry.getAuthorizedEntries({ outputMask: EntryMask.fromPartial({}) }, done),
      );
    expect(await refused(sync())).toMatchObject({ code: 7 });
    expect(
      await unary((done) => server.local.agent.getAgent({ id, outputMask: undefined }, done)),
    ).toMatchObject({ banned: true, x509svidSerialNumber: "" });
  });

  test("that is deleted takes the alias its token made with it", async () => {
    const { id, clients } = await joinAgent(server, "/rack-2");
    await unary((done) => server.local.agent.deleteAgent({ id }, done));
    expect(
      await refused(
        unary((done) => clients.entry.getAuthorizedEntries({ outputMask: undefined }, done)),
      ),
    ).toMatchObject({ code: 7 });
    expect(
      await refused(unary((done) => server.local.agent.deleteAgent({ id }, done))),
    ).toMatchObject({ code: 5, details: "agent not found" });
  });
});

test("an operator's ID must name an agent", async () => {
  const id = { trustDomain: "example.org", path: "/web" };
  expect(await refused(unary((done) => server.local.agent.banAgent({ id }, done)))).toMatchObject({
    code: 3,
    details:
      'invalid agent ID: "spiffe://example.org/web" is not an agent in trust domain "example.org"; path is not in the agent namespace',
  });
});

test("a certificate of another authority gets nobody in, not even where anybody may call", async () => {
  const other = await startTestServer();
  const { identity } = await joinAgent(other);
  const stranger = server.remote(identity);
  expect(
    await refused(unary((done) => stranger.bundle.getBundle({ outputMask: undefined }, done))),
  ).toMatchObject({ code: 16 });
  await other.stop();
});

test("without a certificate the bundle is there for anybody, and nothing else", async () => {
  const anybody = server.remote();
  await unary((done) => anybody.bundle.getBundle({ outputMask: undefined }, done));
  expect(
    await refused(unary((done) => anybody.agent.renewAgent({ params: undefined }, done))),
  ).toMatchObject({ code: 7 });
  expect(await countAgents()).toBeDefined();
});
