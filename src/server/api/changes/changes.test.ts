import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { ServiceError } from "@grpc/grpc-js";
import type { RenewAgentResponse } from "#proto/spire/api/server/agent/v1/agent.ts";
import type {
  BatchCreateEntryResponse,
  BatchDeleteEntryResponse,
  BatchUpdateEntryResponse,
} from "#proto/spire/api/server/entry/v1/entry.ts";
import { Bundle } from "#proto/spire/api/types/bundle.ts";
import { Entry, EntryMask } from "#proto/spire/api/types/entry.ts";
import type { Change } from "#proto/spire_edge/changes/v1/changes.ts";
import {
  asWorkload,
  type Clients,
  identityOf,
  type JoinedAgent,
  joinAgent,
  newKey,
  startTestServer,
  type TestServer,
  unary,
} from "#server/server.fixture.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

/** A stream of changes, read one at a time; `over` resolves with the code and details it ended with. */
function watch(clients: Clients) {
  const stream = clients.changes.watchChanges({});
  const heard: Change[] = [];
  let wake: () => void = () => undefined;
  stream.on("data", (change: Change) => {
    heard.push(change);
    wake();
  });
  const over = new Promise<{ code: number; details: string }>((resolve) => {
    stream.on("status", resolve);
    stream.on("error", (error: ServiceError) => resolve(error));
  });
  const next = async (): Promise<Change> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    wake = resolve;
    if (heard.length === 0) await promise;
    const change = heard.shift();
    if (change === undefined) throw new Error("woken for nothing");
    return change;
  };
  return { stream, next, over };
}

/** A watch of an agent that has heard that everything may have changed. */
async function watching(agent: JoinedAgent) {
  const opened = watch(agent.clients);
  expect(await opened.next()).toEqual({
    storedEntries: [],
    removedEntryIds: [],
    changedBundles: [],
    everything: true,
  });
  return opened;
}

const id = (path: string) => ({ trustDomain: "example.org", path });
const create = async (parentId: Entry["parentId"], given: Partial<Entry> = {}): Promise<Entry> => {
  const spiffeId = id(`/w-${crypto.randomUUID()}`);
  const selectors = [{ type: "unix", value: "uid:1" }];
  const entries = [{ ...Entry.fromPartial({ spiffeId, parentId, selectors }), ...given }];
  const { results } = await unary<BatchCreateEntryResponse>((done) =>
    server.local.entry.batchCreateEntry({ entries, outputMask: undefined }, done),
  );
  const entry = results[0]?.entry;
  if (entry === undefined) throw new Error(results[0]?.status?.message);
  return entry;
};
const update = (entry: Partial<Entry>, inputMask: Partial<EntryMask>) =>
  unary<BatchUpdateEntryResponse>((done) =>
    server.local.entry.batchUpdateEntry(
      {
        entries: [Entry.fromPartial(entry)],
        inputMask: EntryMask.fromPartial(inputMask),
        outputMask: undefined,
      },
      done,
    ),
  );
const remove = (...ids: string[]) =>
  unary<BatchDeleteEntryResponse>((done) => server.local.entry.batchDeleteEntry({ ids }, done));

describe("an agent that watches", () => {
  test("hears of each entry of its own as it is now, and of no other", async () => {
    const [agent, other] = [await joinAgent(server), await joinAgent(server)];
    const { next } = await watching(agent);
    await create(other.id);
    const entry = await create(agent.id, { hint: "h", dnsNames: ["a.b"], x509SvidTtl: 60 });
    expect(await next()).toEqual({
      storedEntries: [entry],
      removedEntryIds: [],
      changedBundles: [],
      everything: false,
    });
    const { results } = await update({ id: entry.id, hint: "i" }, { hint: true });
    expect(results[0]?.entry).toMatchObject({ hint: "i", revisionNumber: 1 });
    expect((await next()).storedEntries).toEqual([results[0]?.entry as Entry]);
    await remove(entry.id);
    expect(await next()).toMatchObject({ storedEntries: [], removedEntryIds: [entry.id] });
  });

  test("hears of an entry that moves away, and the agent it moves to hears of it, too", async () => {
    const [agent, other] = [await joinAgent(server), await joinAgent(server)];
    const entry = await create(agent.id);
    const [left, taken] = [await watching(agent), await watching(other)];
    await update({ id: entry.id, parentId: other.id }, { parentId: true });
    expect(await left.next()).toMatchObject({ storedEntries: [], removedEntryIds: [entry.id] });
    expect((await taken.next()).storedEntries).toMatchObject([{ id: entry.id, revisionNumber: 1 }]);
  });

  test("hears of what is below its entries, and that everything changed when such an entry goes", async () => {
    const agent = await joinAgent(server);
    const above = await create(agent.id, { spiffeId: id("/group") });
    const { next } = await watching(agent);
    const entry = await create(id("/group"));
    expect((await next()).storedEntries).toEqual([entry]);
    await remove(above.id);
    expect(await next()).toMatchObject({ everything: true });
  });

  test("hears which bundle changed", async () => {
    const { next } = await watching(await joinAgent(server));
    const bundle = Bundle.fromPartial({ trustDomain: "other.org", refreshHint: 60 });
    await unary((done) =>
      server.local.bundle.batchSetFederatedBundle(
        { bundle: [bundle], outputMask: undefined },
        done,
      ),
    );
    expect(await next()).toMatchObject({ changedBundles: ["other.org"], everything: false });
  });

  test("and does not read, hears the last state later, not all of them", async () => {
    const agent = await joinAgent(server);
    const { stream, next } = await watching(agent);
    stream.pause();
    const dnsNames = Array.from({ length: 500 }, (_, n) => `${"a".repeat(60)}.${n}.org`);
    const { id: entryId } = await create(agent.id, { dnsNames });
    const rounds = 50;
    for (let n = 1; n <= rounds; n++)
      await update({ id: entryId, hint: String(n) }, { hint: true });
    stream.resume();
    let messages = 0;
    for (let last = ""; last !== String(rounds); messages++) {
      last = (await next()).storedEntries[0]?.hint ?? "";
    }
    expect(messages).toBeLessThan(rounds / 2);
  });
});

describe("a watch is refused", () => {
  const refusal = async (clients: Clients): Promise<unknown> => (await watch(clients).over).code;

  test("to operators, strangers and workloads", async () => {
    const agent = await joinAgent(server);
    await create(agent.id, { spiffeId: id("/workload") });
    expect(await refusal(server.local)).toBe(7);
    expect(await refusal(server.remote())).toBe(7);
    expect(await refusal(await asWorkload(server, "/workload"))).toBe(7);
  });
});

describe("a watch ends without error", () => {
  test.each(["banAgent", "deleteAgent"] as const)("by %s, and no other begins", async (method) => {
    const agent = await joinAgent(server);
    const { over } = await watching(agent);
    await unary((done) => server.local.agent[method]({ id: agent.id }, done));
    expect(await over).toMatchObject({ code: 0 });
    expect(await watch(agent.clients).over).toMatchObject({ code: 7 });
  });

  test("when the agent has used its next SVID, not yet when it has got it", async () => {
    const agent = await joinAgent(server);
    const { next, over } = await watching(agent);
    const key = await newKey();
    const { svid } = await unary<RenewAgentResponse>((done) =>
      agent.clients.agent.renewAgent({ params: { csr: key.csr } }, done),
    );
    const entry = await create(agent.id);
    expect((await next()).storedEntries).toEqual([entry]);
    const renewed = { ...agent, clients: server.remote(identityOf(key, svid)) };
    const { next: nextOfRenewed } = await watching(renewed);
    expect(await over).toMatchObject({ code: 0 });
    await remove(entry.id);
    expect((await nextOfRenewed()).removedEntryIds).toEqual([entry.id]);
  });

  test("when the server stops, and does not keep it waiting", async () => {
    const other = await startTestServer();
    const watches = await Promise.all([1, 2, 3].map(async () => watching(await joinAgent(other))));
    await other.server.stop();
    for (const { over } of watches) expect(await over).toMatchObject({ code: 0 });
    await other.stop();
  });
});
