import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { RenewAgentResponse } from "#proto/spire/api/server/agent/v1/agent.ts";
import { EntryMask } from "#proto/spire/api/types/entry.ts";
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

const countAgents = (): Promise<unknown> =>
  unary((done) => server.local.agent.countAgents({ filter: undefined }, done));

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
