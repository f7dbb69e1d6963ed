import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { AttestAgentResponse } from "#proto/spire/api/server/agent/v1/agent.ts";
import type { GetAuthorizedEntriesResponse } from "#proto/spire/api/server/entry/v1/entry.ts";
import type { JoinToken } from "#proto/spire/api/types/jointoken.ts";
import {
  attest,
  type Clients,
  identityOf,
  joinAgent,
  type NewKey,
  newKey,
  refused,
  ShiftedClock,
  startTestServer,
  type TestServer,
  unary,
} from "#server/server.fixture.ts";

const USED = {
  code: 3,
  details: "failed to attest: join token does not exist or has already been used",
};

const clock = new ShiftedClock();
let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({}, undefined, clock);
});
afterAll(() => server.stop());

const createToken = (ttl = 600, token = ""): Promise<JoinToken> =>
  unary((done) => server.local.agent.createJoinToken({ ttl, token, agentId: undefined }, done));

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
    const client = server.remote().agent;
    const keys = await Promise.all([newKey(), newKey(), newKey()]);
    const attempts = keys.map(({ csr }) => attest(client, { payload, csr }));
    const outcomes = await Promise.allSettled(attempts);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === "fulfilled") continue;
      expect(outcome.reason).toMatchObject(USED);
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

describe("an agent that asks again because the answer was lost", () => {
  /** Joins, and forgets the answer. */
  async function joinUnheard(): Promise<{ id: { trustDomain: string; path: string } } & Asking> {
    const { value: payload } = await createToken();
    const key = await newKey();
    await attest(server.remote().agent, { payload, csr: key.csr });
    const id = { trustDomain: "example.org", path: `/spire/agent/join_token/${payload}` };
    return { id, payload, key };
  }

  interface Asking {
    readonly payload: string;
    readonly key: NewKey;
  }

  const ask = ({ payload, key }: Asking): Promise<AttestAgentResponse> =>
    attest(server.remote().agent, { payload, csr: key.csr });

  async function clientsOf(asking: Asking): Promise<Clients> {
    const { step } = await ask(asking);
    if (step?.$case !== "result") throw new Error("the attestation did not end with a result");
    return server.remote(identityOf(asking.key, step.value.svid));
  }

  const sync = (clients: Clients): Promise<unknown> =>
    unary((done) => clients.entry.getAuthorizedEntries({ outputMask: undefined }, done));

  test("is let in again with the same key, and only the last SVID counts", async () => {
    const asking = await joinUnheard();
    const first = await clientsOf(asking);
    await sync(first);
    const second = await clientsOf(asking);
    await sync(second);
    expect(await refused(sync(first))).toMatchObject({ code: 7 });
  });

  test("is refused with another key", async () => {
    const { payload } = await joinUnheard();
    expect(await refused(ask({ payload, key: await newKey() }))).toMatchObject(USED);
  });

  test("is refused with a request for its key that it did not sign", async () => {
    const { payload, key } = await joinUnheard();
    const csr = Uint8Array.from(key.csr);
    csr[csr.length - 1] = (csr.at(-1) ?? 0) ^ 1;
    expect(await refused(ask({ payload, key: { ...key, csr } }))).toMatchObject({ code: 3 });
  });

  test("is let in for a minute, and refused later", async () => {
    const asking = await joinUnheard();
    clock.advance(50);
    await ask(asking);
    clock.advance(11);
    expect(await refused(ask(asking))).toMatchObject(USED);
  });

  test("is refused once it is banned, and once it is evicted", async () => {
    const asking = await joinUnheard();
    const { id } = asking;
    await unary((done) => server.local.agent.banAgent({ id }, done));
    expect(await refused(ask(asking))).toMatchObject({
      code: 7,
      details: "failed to attest: agent is banned",
    });
    await unary((done) => server.local.agent.deleteAgent({ id }, done));
    expect(await refused(ask(asking))).toMatchObject(USED);
    expect(
      await refused(
        unary((done) => server.local.agent.getAgent({ id, outputMask: undefined }, done)),
      ),
    ).toMatchObject({ code: 5 });
  });

  test("is told when the token expired unused", async () => {
    const { value: payload } = await createToken(10);
    clock.advance(11);
    expect(await refused(ask({ payload, key: await newKey() }))).toMatchObject({
      code: 3,
      details: "join token expired",
    });
  });
});
