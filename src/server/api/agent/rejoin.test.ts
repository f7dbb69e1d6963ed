import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "#log/log.ts";
import type { RenewAgentResponse } from "#proto/spire/api/server/agent/v1/agent.ts";
import type { GetAuthorizedEntriesResponse } from "#proto/spire/api/server/entry/v1/entry.ts";
import type { Agent } from "#proto/spire/api/types/agent.ts";
import type { JoinToken } from "#proto/spire/api/types/jointoken.ts";
import type { DeleteJoinTokenRequest } from "#proto/spire_edge/jointoken/v1/jointoken.ts";
import { makeNode } from "#server/datastore/records.conformance.ts";
import { openSqliteDataStore } from "#server/datastore/sqlite/open.ts";
import {
  attest,
  type Clients,
  identityOf,
  type JoinedAgent,
  joinAgent,
  newKey,
  refused,
  ShiftedClock,
  startTestServer,
  type TestServer,
  unary,
} from "#server/server.fixture.ts";

const NOT_GOOD = {
  code: 3,
  details: "failed to attest: join token does not exist or has already been used",
};
const UNKNOWN = { code: 5, details: "join token does not exist or has already been used" };

const clock = new ShiftedClock();
let server: TestServer;
beforeAll(async () => {
  const directory = mkdtempSync(join(tmpdir(), "spire-rejoin-"));
  const path = join(directory, "data", "datastore.sqlite3");
  const log = createLog({ level: "error", format: "text" }, () => 0, { write: () => undefined });
  const store = await openSqliteDataStore({ path, log });
  await store.nodes.put(makeNode("x509pop/node", { attestationType: "x509pop" }));
  await store.close();
  server = await startTestServer({ auditLogEnabled: true }, directory, clock);
});
afterAll(() => server.stop());

const rejoinToken = (id: JoinedAgent["id"] | undefined, ttl = 600): Promise<JoinToken> =>
  unary((done) => server.local.joinToken.createRejoinToken({ agentId: id, ttl }, done));
const deleteToken = (which: DeleteJoinTokenRequest["which"]): Promise<unknown> =>
  unary((done) => server.local.joinToken.deleteJoinToken({ which }, done));
const entriesOf = (clients: Clients): Promise<GetAuthorizedEntriesResponse> =>
  unary((done) => clients.entry.getAuthorizedEntries({ outputMask: undefined }, done));
const agentOf = (id: JoinedAgent["id"]): Promise<Agent> =>
  unary((done) => server.local.agent.getAgent({ id, outputMask: undefined }, done));

async function attestWith(payload: string): Promise<Clients> {
  const key = await newKey();
  const { step } = await attest(server.remote().agent, { payload, csr: key.csr });
  if (step?.$case !== "result") throw new Error("the attestation did not end with a result");
  return server.remote(identityOf(key, step.value.svid));
}

describe("an agent that joins again", () => {
  test("has its ID, its alias and its entries; the SVID it had is over", async () => {
    const { id, clients } = await joinAgent(server, "/rack-1");
    const before = await entriesOf(clients);
    expect(before.entries).toHaveLength(1);
    const { value } = await rejoinToken(id);
    expect(await entriesOf(clients)).toEqual(before);
    const again = await attestWith(value);
    expect(await entriesOf(again)).toEqual(before);
    expect(await refused(entriesOf(clients))).toMatchObject({ code: 7 });
    expect(await agentOf(id)).toMatchObject({ attestationType: "join_token", canReattest: false });
    expect(await refused(attestWith(value))).toMatchObject(NOT_GOOD);
  });

  test("is not ousted by a renewal of its former SVID that was under way", async () => {
    const { id, clients } = await joinAgent(server);
    const { value } = await rejoinToken(id);
    const key = await newKey();
    const renew = (): Promise<RenewAgentResponse> =>
      unary((done) => clients.agent.renewAgent({ params: { csr: key.csr } }, done));
    /** Renews until that is refused, and gives what came last. */
    const renewOn = async (last: RenewAgentResponse): Promise<RenewAgentResponse> => {
      const next = await renew().catch(() => undefined);
      return next === undefined ? last : await renewOn(next);
    };
    const first = await renew();
    const renewing = Array.from({ length: 16 }, () => renewOn(first));
    const again = await attestWith(value);
    for (const { svid } of await Promise.all(renewing)) {
      const former = server.remote(identityOf(key, svid));
      expect(await refused(entriesOf(former))).toMatchObject({ code: 7 });
    }
    await entriesOf(again);
  });

  test("may have been away for longer than its SVID lasts", async () => {
    const { id, clients } = await joinAgent(server);
    clock.advance(2 * 3600);
    expect(await refused(entriesOf(clients))).toMatchObject({ code: 7 });
    const { value } = await rejoinToken(id);
    await entriesOf(await attestWith(value));
  });

  test("is not let in when it was banned or evicted meanwhile", async () => {
    const { id } = await joinAgent(server);
    const { value } = await rejoinToken(id);
    await unary((done) => server.local.agent.banAgent({ id }, done));
    expect(await refused(attestWith(value))).toMatchObject({
      code: 7,
      details: "failed to attest: agent is banned",
    });
    await unary((done) => server.local.agent.deleteAgent({ id }, done));
    expect(await refused(attestWith(value))).toMatchObject(NOT_GOOD);
  });
});

describe("a token to join again is refused for", () => {
  test("an agent that is not known", async () => {
    const id = { trustDomain: "example.org", path: "/spire/agent/join_token/nobody" };
    expect(await refused(rejoinToken(id))).toMatchObject({ code: 5, details: "agent not found" });
  });

  test("one that is banned", async () => {
    const { id } = await joinAgent(server);
    await unary((done) => server.local.agent.banAgent({ id }, done));
    expect(await refused(rejoinToken(id))).toMatchObject({
      code: 9,
      details: "agent is banned: evict it first",
    });
  });

  test("one that attested by other means, of which a token would say nothing", async () => {
    const id = { trustDomain: "example.org", path: "/spire/agent/x509pop/node" };
    expect(await refused(rejoinToken(id))).toMatchObject({
      code: 9,
      details: expect.stringContaining("agent attested by x509pop, and attests again by that"),
    });
  });

  test("what is no agent, and without a time to live", async () => {
    const { id } = await joinAgent(server);
    const workload = { trustDomain: "example.org", path: "/web" };
    for (const attempt of [rejoinToken(undefined), rejoinToken(workload)]) {
      expect(await refused(attempt)).toMatchObject({
        code: 3,
        details: expect.stringContaining("invalid agent ID"),
      });
    }
    expect(await refused(rejoinToken(id, 0))).toMatchObject({
      code: 3,
      details: "ttl is required, you must provide one",
    });
  });
});

describe("a deleted token", () => {
  test("lets nobody in, and its alias is gone", async () => {
    const agentId = { trustDomain: "example.org", path: "/rack-2" };
    const { value } = await unary<JoinToken>((done) =>
      server.local.agent.createJoinToken({ ttl: 600, token: "", agentId }, done),
    );
    const count = (): Promise<unknown> =>
      unary((done) =>
        server.local.entry.listEntries(
          {
            filter: {
              bySpiffeId: agentId,
              byParentId: undefined,
              bySelectors: undefined,
              byFederatesWith: undefined,
              byHint: undefined,
              byDownstream: undefined,
            },
            outputMask: undefined,
            pageSize: 0,
            pageToken: "",
          },
          done,
        ),
      );
    expect(await count()).toMatchObject({ entries: [{ spiffeId: agentId }] });
    await deleteToken({ $case: "token", value });
    expect(await refused(attestWith(value))).toMatchObject(NOT_GOOD);
    expect(await count()).toMatchObject({ entries: [] });
    expect(await refused(deleteToken({ $case: "token", value }))).toMatchObject(UNKNOWN);
  });

  test("is named by the agent that it would let in again", async () => {
    const { id, clients } = await joinAgent(server);
    const { value } = await rejoinToken(id);
    await deleteToken({ $case: "agentId", value: id });
    expect(await refused(attestWith(value))).toMatchObject(NOT_GOOD);
    expect(await refused(deleteToken({ $case: "agentId", value: id }))).toMatchObject(UNKNOWN);
    await entriesOf(clients);
  });

  test("that was used already is an agent by now, and the operator hears so", async () => {
    const { id } = await joinAgent(server);
    const value = id.path.replace(/.*\//, "");
    expect(await refused(deleteToken({ $case: "token", value }))).toMatchObject({
      code: 9,
      details: "join token has already been used: evict or ban the agent that joined by it",
    });
    await agentOf(id);
  });

  test("has to be named", async () => {
    expect(await refused(deleteToken(undefined))).toMatchObject({ code: 3 });
    expect(await refused(deleteToken({ $case: "token", value: "a/b" }))).toMatchObject({ code: 3 });
  });
});

test("what operators did with tokens is in the audit log, without the tokens", async () => {
  const { id } = await joinAgent(server);
  const { value } = await rejoinToken(id);
  await deleteToken({ $case: "token", value });
  const written = server.logged.filter((line) => line["type"] === "audit").slice(-2);
  expect(written).toMatchObject([
    { method: "CreateRejoinToken", spiffe_id: `spiffe://example.org${id.path}`, ttl: 600 },
    { method: "DeleteJoinToken", status: "success" },
  ]);
  expect(JSON.stringify(server.logged)).not.toContain(value);
});
