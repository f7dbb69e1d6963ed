/** What a call costs the server, in counts that are the same on every machine: questions to the store, and bytes. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  type EntryClient,
  EntryService,
  SyncAuthorizedEntriesRequest,
} from "#proto/spire/api/server/entry/v1/entry.ts";
import { Entry, EntryMask } from "#proto/spire/api/types/entry.ts";
import {
  type Clients,
  closeClients,
  type JoinedAgent,
  joinAgent,
  localClients,
  newKey,
  remoteClients,
  unary,
} from "#server/server.fixture.ts";
import { freePort } from "../support/process.ts";
import { Stage, TestServer } from "../support/spire.ts";

const ENTRIES = 1_000;
const AT_ONCE = 250;
const SVIDS = 50;
/** An ID of 36 letters, a time, and what says where they are. */
const REVISION_BYTES = 50;

const stage = new Stage();
const opened: Clients[] = [];
let metricsPort: number;
let agent: JoinedAgent;
let ids: readonly string[];

beforeAll(async () => {
  metricsPort = await freePort();
  const server = await TestServer.start(stage, "ours", {
    settings: "ratelimit {\n    signing = false\n  }",
    more: `telemetry {\n  Prometheus {\n    host = "127.0.0.1"\n    port = ${metricsPort}\n  }\n}`,
  });
  const keep = (clients: Clients): Clients => {
    opened.push(clients);
    return clients;
  };
  const local = keep(localClients(server.socket));
  agent = await joinAgent({
    local,
    remote: (identity) => keep(remoteClients(`127.0.0.1:${server.port}`, identity)),
  });
  for (let from = 0; from < ENTRIES; from += AT_ONCE) {
    const entries = Array.from({ length: AT_ONCE }, (_, n) => entryOf(from + n));
    await unary((done) => local.entry.batchCreateEntry({ entries, outputMask: undefined }, done));
  }
  ids = (await authorized()).map(({ id }) => id);
});

afterAll(async () => {
  for (const clients of opened) closeClients(clients);
  await stage.close();
});

const entryOf = (n: number): Entry =>
  Entry.fromPartial({
    spiffeId: { trustDomain: "example.org", path: `/w/${n}` },
    parentId: agent.id,
    selectors: [{ type: "unix", value: `uid:${n}` }],
  });

async function authorized(): Promise<Entry[]> {
  const request = { outputMask: EntryMask.fromPartial({ spiffeId: true }) };
  const { entries } = await unary<{ entries: Entry[] }>((done) =>
    agent.clients.entry.getAuthorizedEntries(request, done),
  );
  return entries;
}

/** All calls of the store that were ever made. */
async function storeCalls(): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  const counters = /^spire_server_datastore_(?!\w*elapsed_time)\w+\{[^}]*\} (\d+)$/gm;
  return [...text.matchAll(counters)].map(([, count]) => Number(count)).reduce((a, b) => a + b, 0);
}

/** @returns how many calls of the store the work led to */
async function storeCallsOf(work: () => Promise<unknown>): Promise<number> {
  const before = await storeCalls();
  await work();
  return (await storeCalls()) - before;
}

async function svids(): Promise<void> {
  const params = await Promise.all(
    ids.slice(0, SVIDS).map(async (entryId) => ({ entryId, csr: (await newKey()).csr })),
  );
  const { results } = await unary<{ results: { status?: { code: number } | undefined }[] }>(
    (done) => agent.clients.svid.batchNewX509Svid({ params }, done),
  );
  expect(results.map(({ status }) => status?.code)).toEqual(Array(SVIDS).fill(0));
}

test("of what agents ask all the time the store is asked one thing, their standing, however much they ask for", async () => {
  const calls = {
    authorized: await storeCallsOf(authorized),
    svids: await storeCallsOf(svids),
    jwtSvid: await storeCallsOf(() =>
      unary((done) =>
        agent.clients.svid.newJwtsvid({ entryId: ids[0] ?? "", audience: ["a"] }, done),
      ),
    ),
    sync: await storeCallsOf(syncBytes),
  };
  expect(calls).toEqual({ authorized: 1, svids: 1, jwtSvid: 1, sync: 1 });
});

/** One synchronisation of an agent that has all entries already. @returns the bytes of the answers */
async function syncBytes(): Promise<number> {
  const { path, requestSerialize } = EntryService.syncAuthorizedEntries;
  const client = agent.clients.entry as EntryClient;
  const stream = client.makeBidiStreamRequest(path, requestSerialize, (bytes: Buffer) => bytes);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let bytes = 0;
  stream.on("data", (message: Buffer) => {
    bytes += message.length;
  });
  stream.on("end", () => resolve(bytes));
  stream.on("error", reject);
  stream.write(SyncAuthorizedEntriesRequest.fromPartial({}));
  stream.end();
  return promise;
}

test("a synchronisation without news is a revision for each entry, and no more", async () => {
  const bytes = await syncBytes();
  expect(bytes).toBeGreaterThan(ENTRIES * 36);
  expect(bytes).toBeLessThan(ENTRIES * REVISION_BYTES);
});
