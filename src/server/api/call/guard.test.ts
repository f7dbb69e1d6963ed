import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connectivityState, type ServiceError } from "@grpc/grpc-js";
import { statusErrorFrom } from "#grpc/status.ts";
import type { MintX509SVIDResponse } from "#proto/spire/api/server/svid/v1/svid.ts";
import {
  asWorkload,
  identityOf,
  joinAgent,
  newKey,
  refused,
  startTestServer,
  type TestServer,
  unary,
} from "#server/server.fixture.ts";
import { SpiffeId } from "#spiffe/spiffe-id.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    auditLogEnabled: true,
    adminIds: [SpiffeId.parse("spiffe://example.org/boss")],
  });
});
afterAll(() => server.stop());

const status = (clients: TestServer["local"]): Promise<unknown> =>
  unary((done) => clients.agent.postStatus({ agentVersion: "", currentBundleSerial: 0 }, done));
const audited = (method: string): readonly Readonly<Record<string, unknown>>[] =>
  server.logged.filter((line) => line["type"] === "audit" && line["method"] === method);

describe("an agent that is turned away learns why", () => {
  const reason = async (clients: TestServer["local"]): Promise<unknown> =>
    statusErrorFrom((await refused(status(clients))) as ServiceError).reason;

  test("AGENT_BANNED", async () => {
    const { id, clients } = await joinAgent(server);
    await unary((done) => server.local.agent.banAgent({ id }, done));
    expect(await reason(clients)).toBe("AGENT_BANNED");
  });

  test("AGENT_NOT_ATTESTED, when it was deleted", async () => {
    const { id, clients } = await joinAgent(server);
    await unary((done) => server.local.agent.deleteAgent({ id }, done));
    expect(await reason(clients)).toBe("AGENT_NOT_ATTESTED");
  });

  test("AGENT_NOT_ATTESTED, when it is a workload", async () => {
    expect(await reason(await asWorkload(server, "/web"))).toBe("AGENT_NOT_ATTESTED");
  });
});

test("a connection with a certificate that is of no use is closed, so that a better one can be shown", async () => {
  const other = await startTestServer();
  const key = await newKey("spiffe://example.org/x");
  const { svid } = await unary<MintX509SVIDResponse>((done) =>
    other.local.svid.mintX509Svid({ csr: key.csr, ttl: 0 }, done),
  );
  const { agent } = server.remote(identityOf(key, svid));
  const { READY } = connectivityState;
  const call = unary((done) =>
    agent.postStatus({ agentVersion: "", currentBundleSerial: 0 }, done),
  );
  expect(await refused(call)).toMatchObject({ code: 16 });
  const channel = agent.getChannel();
  expect(channel.getConnectivityState(false)).toBe(READY);
  const left = Promise.withResolvers<unknown>();
  channel.watchConnectivityState(READY, Number.POSITIVE_INFINITY, left.resolve);
  expect(await left.promise).toBeUndefined();
  await other.stop();
});

test("a local caller is no agent", async () => {
  expect(await refused(status(server.local))).toMatchObject({ code: 7 });
});

test("a configured admin ID opens the operator's methods", async () => {
  const count = (clients: TestServer["local"]): Promise<unknown> =>
    unary((done) => clients.agent.countAgents({ filter: undefined }, done));
  expect(await count(await asWorkload(server, "/boss"))).toHaveProperty("count");
  expect(await refused(count(await asWorkload(server, "/boss2")))).toMatchObject({ code: 7 });
});

describe("the audit log", () => {
  test("says who did what, and how it ended", async () => {
    const id = { trustDomain: "example.org", path: "/spire/agent/nobody" };
    await refused(unary((done) => server.local.agent.deleteAgent({ id }, done)));
    expect(audited("DeleteAgent").at(-1)).toMatchObject({
      service: "agent.v1.Agent",
      status: "error",
      status_code: "NotFound",
      status_message: "agent not found",
      spiffe_id: "spiffe://example.org/spire/agent/nobody",
      authorized_as: "local",
      caller_uid: process.getuid?.(),
    });
  });

  test("has a line for each item of a batch, and none for the batch", async () => {
    const ids = ["a", "b"];
    await unary((done) => server.local.entry.batchDeleteEntry({ ids }, done));
    expect(audited("BatchDeleteEntry").map((line) => line["entry_id"])).toEqual(ids);
  });

  test("never holds a join token", async () => {
    const token = "a-token-that-nobody-may-read";
    await unary((done) =>
      server.local.agent.createJoinToken({ ttl: 60, token, agentId: undefined }, done),
    );
    expect(JSON.stringify(audited("CreateJoinToken"))).not.toContain(token);
  });
});

test("too fast an address waits for its turn", async () => {
  const limited = await startTestServer({ rateLimit: { attestation: true, signing: true } });
  const startedMs = performance.now();
  await joinAgent(limited);
  await joinAgent(limited);
  expect(performance.now() - startedMs).toBeGreaterThan(900);
  await limited.stop();
});

test("an agent that is banned while it waits for its turn is not served", async () => {
  const limited = await startTestServer({ rateLimit: { attestation: false, signing: true } });
  const { id, clients } = await joinAgent(limited);
  const params = Array.from({ length: 500 }, () => ({ entryId: "", csr: new Uint8Array() }));
  const sign = (): Promise<unknown> =>
    unary((done) => clients.svid.batchNewX509Svid({ params }, done));
  await sign();
  // The first waits for one second, the second for two: so long may a busy machine take for what is between.
  void sign().catch(() => {});
  const waiting = refused(sign());
  // It comes after them on the same connection, so they are past the guard.
  await unary((done) => clients.entry.getAuthorizedEntries({ outputMask: undefined }, done));
  await unary((done) => limited.local.agent.banAgent({ id }, done));
  expect(statusErrorFrom((await waiting) as ServiceError).reason).toBe("AGENT_BANNED");
  await limited.stop();
});
