import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type {
  BatchCreateEntryResponse,
  BatchUpdateEntryResponse,
  ListEntriesResponse,
  SyncAuthorizedEntriesRequest,
  SyncAuthorizedEntriesResponse,
} from "#proto/spire/api/server/entry/v1/entry.ts";
import { Entry, EntryMask } from "#proto/spire/api/types/entry.ts";
import {
  asWorkload,
  type JoinedAgent,
  joinAgent,
  refused,
  startTestServer,
  type TestServer,
  unary,
} from "#server/server.fixture.ts";

let server: TestServer;
let agent: JoinedAgent;
beforeAll(async () => {
  server = await startTestServer();
  agent = await joinAgent(server);
});
afterAll(() => server.stop());

const id = (path: string): { trustDomain: string; path: string } => ({
  trustDomain: "example.org",
  path,
});
const entryOf = (path: string, change: Partial<Entry> = {}): Entry => ({
  ...Entry.fromPartial({
    spiffeId: id(path),
    parentId: agent.id,
    selectors: [{ type: "unix", value: "uid:1" }],
  }),
  ...change,
});
const create = (...entries: Entry[]): Promise<BatchCreateEntryResponse> =>
  unary((done) => server.local.entry.batchCreateEntry({ entries, outputMask: undefined }, done));
const createOne = async (path: string, change: Partial<Entry> = {}): Promise<Entry> => {
  const { results } = await create(entryOf(path, change));
  const entry = results[0]?.entry;
  if (entry === undefined) throw new Error(results[0]?.status?.message);
  return entry;
};

describe("a batch of new entries", () => {
  test("has a result for each, in order, good or bad", async () => {
    const { results } = await create(
      entryOf("/batch"),
      entryOf("/batch", { selectors: [] }),
      entryOf("/batch"),
      entryOf("/batch2", { id: "no/slash" }),
      entryOf("/batch2", { federatesWith: ["unknown.org"] }),
      entryOf("/batch2", { x509SvidTtl: -1 }),
    );
    expect(results).toMatchObject([
      { status: { code: 0, message: "OK" }, entry: { spiffeId: id("/batch") } },
      { status: { code: 3, message: "failed to convert entry: selector list is empty" } },
      {
        status: { code: 6, message: "similar entry already exists" },
        entry: { id: results[0]?.entry?.id },
      },
      {
        status: {
          code: 3,
          message:
            "failed to create entry: datastore-validation: invalid registration entry: entry ID contains invalid characters",
        },
      },
      {
        status: {
          code: 13,
          message: expect.stringMatching(/^failed to create entry: .*unknown\.org/),
        },
      },
      {
        status: {
          code: 3,
          message:
            "failed to create entry: datastore-validation: invalid registration entry: X509SvidTtl is not set",
        },
      },
    ]);
  });
});

describe("an update", () => {
  test("without a mask replaces everything, with one only what it names", async () => {
    const created = await createOne("/update", { hint: "h", dnsNames: ["a.b"] });
    const update = (entry: Entry, inputMask?: EntryMask): Promise<BatchUpdateEntryResponse> =>
      unary((done) =>
        server.local.entry.batchUpdateEntry(
          { entries: [entry], inputMask, outputMask: undefined },
          done,
        ),
      );
    const masked = await update(
      Entry.fromPartial({ id: created.id, hint: "new" }),
      EntryMask.fromPartial({ hint: true }),
    );
    expect(masked.results[0]?.entry).toMatchObject({
      hint: "new",
      dnsNames: ["a.b"],
      revisionNumber: 1,
    });
    const whole = await update(entryOf("/update", { id: created.id }));
    expect(whole.results[0]?.entry).toMatchObject({ hint: "", dnsNames: [], revisionNumber: 2 });
    const missing = await update(entryOf("/update", { id: "nope" }));
    expect(missing.results[0]?.status).toEqual({ code: 5, message: "failed to update entry" });
  });
});

describe("a single entry", () => {
  test("is found by its ID", async () => {
    const get = (entryId: string): Promise<Entry> =>
      unary((done) => server.local.entry.getEntry({ id: entryId, outputMask: undefined }, done));
    const created = await createOne("/get");
    expect(await get(created.id)).toEqual(created);
    expect(await refused(get(""))).toMatchObject({ code: 3, details: "missing ID" });
    expect(await refused(get("nope"))).toMatchObject({ code: 5, details: "entry not found" });
  });

  test("is deleted once", async () => {
    const created = await createOne("/delete");
    const ids = [created.id, created.id, ""];
    expect(await unary((done) => server.local.entry.batchDeleteEntry({ ids }, done))).toMatchObject(
      {
        results: [
          { id: created.id, status: { code: 0, message: "OK" } },
          { id: created.id, status: { code: 5, message: "entry not found" } },
          { id: "", status: { code: 3, message: "missing entry ID" } },
        ],
      },
    );
  });
});

describe("a listing", () => {
  const list = (part: object): Promise<ListEntriesResponse> =>
    unary((done) =>
      server.local.entry.listEntries(
        { filter: undefined, outputMask: undefined, pageSize: 0, pageToken: "", ...part },
        done,
      ),
    );
  const filterOf = (part: object): object => ({
    filter: {
      bySpiffeId: undefined,
      byParentId: undefined,
      bySelectors: undefined,
      byFederatesWith: undefined,
      byHint: undefined,
      byDownstream: undefined,
      ...part,
    },
  });

  test("comes in pages that hold every entry once", async () => {
    await Promise.all([1, 2, 3, 4, 5].map((n) => createOne(`/page-${n}`, { hint: "paged" })));
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await list({ ...filterOf({ byHint: "paged" }), pageSize: 2, pageToken });
      expect(page.entries.length).toBeLessThanOrEqual(2);
      seen.push(...page.entries.map((entry) => entry.spiffeId?.path ?? ""));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen.sort()).toEqual(["/page-1", "/page-2", "/page-3", "/page-4", "/page-5"]);
  });

  test("refuses a filter that cannot be", async () => {
    const bySelectors = { selectors: [], match: 0 };
    expect(await refused(list(filterOf({ bySelectors })))).toMatchObject({
      code: 3,
      details: "malformed selectors filter: empty selector set",
    });
    expect(
      await refused(list(filterOf({ bySpiffeId: { trustDomain: "other.org", path: "/x" } }))),
    ).toMatchObject({
      code: 3,
      details:
        'malformed SPIFFE ID filter: "spiffe://other.org/x" is not a member of trust domain "example.org"',
    });
  });
});

describe("synchronisation", () => {
  /** Sends the requests one after the other, each when the answer to the one before is complete. */
  function sync(
    client: JoinedAgent["clients"],
    requests: readonly SyncAuthorizedEntriesRequest[],
  ): Promise<SyncAuthorizedEntriesResponse[]> {
    const waiting = [...requests];
    return new Promise((resolve, reject) => {
      const responses: SyncAuthorizedEntriesResponse[] = [];
      const stream = client.entry.syncAuthorizedEntries();
      const next = (): void => {
        const request = waiting.shift();
        if (request === undefined) stream.end();
        else stream.write(request);
      };
      stream.on("data", (response: SyncAuthorizedEntriesResponse) => {
        responses.push(response);
        if (!response.more) next();
      });
      stream.on("error", reject);
      stream.on("end", () => resolve(responses));
      next();
    });
  }
  const request = (part: Partial<SyncAuthorizedEntriesRequest>): SyncAuthorizedEntriesRequest => ({
    outputMask: undefined,
    ids: [],
    ...part,
  });

  test("of few entries sends them whole", async () => {
    const joined = await joinAgent(server);
    await createOne("/few", { parentId: joined.id });
    const responses = await sync(joined.clients, [request({})]);
    expect(responses).toMatchObject([
      { entries: [{ spiffeId: id("/few") }], entryRevisions: [], more: false },
    ]);
  });

  test("of more than a page sends revisions first and then what is asked for", async () => {
    const joined = await joinAgent(server);
    const { results } = await create(
      ...Array.from({ length: 501 }, (_, n) => entryOf(`/many-${n}`, { parentId: joined.id })),
    );
    const ids = results.map(({ entry }) => entry?.id ?? "");
    const [some] = ids;
    const responses = await sync(joined.clients, [
      request({ outputMask: EntryMask.fromPartial({ revisionNumber: true, hint: true }) }),
      request({ ids: [...ids, "unknown"] }),
      request({ ids: [some ?? ""] }),
    ]);
    expect(
      responses.map(({ entries, entryRevisions, more }) => [
        entryRevisions.length,
        entries.length,
        more,
      ]),
    ).toEqual([
      [500, 0, true],
      [1, 0, false],
      [0, 500, true],
      [0, 1, false],
      [0, 1, false],
    ]);
    const asked = responses.slice(2, 4).flatMap(({ entries }) => entries);
    expect(asked.map((entry) => entry.id)).toEqual(ids.toSorted());
    expect(asked[0]).toMatchObject({ spiffeId: undefined, selectors: [] });
  });

  test("refuses IDs to begin with, and a mask without revision numbers", async () => {
    expect(await refused(sync(agent.clients, [request({ ids: ["x"] })]))).toMatchObject({
      code: 3,
      details: "specifying IDs on initial request is not supported",
    });
    expect(
      await refused(sync(agent.clients, [request({ outputMask: EntryMask.fromPartial({}) })])),
    ).toMatchObject({ code: 3, details: "revision number cannot be masked" });
  });

  test("of a new entry shows it at once", async () => {
    const joined = await joinAgent(server);
    const created = await createOne("/now", { parentId: joined.id });
    const [response] = await sync(joined.clients, [request({})]);
    expect(response?.entries.map((entry) => entry.id)).toEqual([created.id]);
  });
});

test("an admin flag on the caller's entry opens the operator's methods to it", async () => {
  const joined = await joinAgent(server);
  await createOne("/plain", { parentId: joined.id });
  await createOne("/boss", { parentId: joined.id, admin: true });
  const count = async (path: string): Promise<unknown> => {
    const clients = await asWorkload(server, path);
    return unary((done) => clients.entry.countEntries({ filter: undefined }, done));
  };
  expect(await refused(count("/plain"))).toMatchObject({ code: 7 });
  expect(await count("/boss")).toMatchObject({ count: expect.any(Number) });
});
