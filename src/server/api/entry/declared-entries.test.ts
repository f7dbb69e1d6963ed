import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Conversation, openBidi } from "#grpc/client.ts";
import { Entry } from "#proto/spire/api/types/entry.ts";
import {
  Change_Action as Action,
  type DeclaredEntry,
  type Options,
  type ReconcileEntriesRequest,
  type ReconcileEntriesResponse,
} from "#proto/spire_edge/declared/v1/declared.ts";
import {
  type Clients,
  joinAgent,
  refused,
  startTestServer,
  type TestServer,
} from "#server/server.fixture.ts";
import { StatusCode } from "#spiffe/status-error.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ auditLogEnabled: true });
});
afterAll(() => server.stop());

type Call = Conversation<ReconcileEntriesRequest, ReconcileEntriesResponse>;

const open = ({ declaredEntries }: Clients = server.local): Call =>
  openBidi<ReconcileEntriesRequest, ReconcileEntriesResponse>((metadata, options) =>
    declaredEntries.reconcileEntries(metadata, options),
  );
const optionsOf = (change: Partial<Options> = {}): Options => ({
  set: "s",
  dryRun: false,
  adopt: false,
  allowRemoval: false,
  ...change,
});
const declare = (name: string): DeclaredEntry => ({
  entry: Entry.fromPartial({
    spiffeId: { trustDomain: "example.org", path: `/${name}` },
    parentId: { trustDomain: "example.org", path: "/node" },
    selectors: [{ type: "unix", value: "uid:1" }],
  }),
  where: `${name}.yaml:1:1`,
});
async function answers(
  requests: readonly ReconcileEntriesRequest[],
): Promise<readonly ReconcileEntriesResponse[]> {
  const call = open();
  for (const request of requests) call.send(request);
  call.finish();
  const found: ReconcileEntriesResponse[] = [];
  for (let next = await call.receive(); next !== undefined; next = await call.receive()) {
    found.push(next);
  }
  return found;
}
const reconcile = (
  options: Options | undefined,
  ...parts: readonly (readonly DeclaredEntry[])[]
): Promise<readonly ReconcileEntriesResponse[]> => {
  const rest = parts.map((entries) => ({ options: undefined, entries: [...entries] }));
  return answers([{ options, entries: [] }, ...rest]);
};

describe("a set handed in", () => {
  test("may come in parts, and is one; the answer tells each change, and then how many", async () => {
    const [changes, last] = await reconcile(optionsOf(), [declare("a")], [declare("b")]);
    expect(changes?.changes).toMatchObject([
      { action: Action.CREATE, where: "a.yaml:1:1", entry: { spiffeId: { path: "/a" } } },
      { action: Action.CREATE, where: "b.yaml:1:1", entry: { spiffeId: { path: "/b" } } },
    ]);
    expect(changes?.changes[0]?.entry?.id).not.toBe("");
    expect(last).toMatchObject({ changes: [], summary: { created: 2, unchanged: 0 } });
  });

  test("is only looked at in a dry run", async () => {
    const dry = optionsOf({ dryRun: true });
    const [changes] = await reconcile(dry, [declare("a"), declare("c")]);
    expect(changes?.changes).toMatchObject([
      { action: Action.CREATE, entry: { id: "", spiffeId: { path: "/c" } } },
      { action: Action.REMOVE, entry: { spiffeId: { path: "/b" } } },
    ]);
    const [all] = await reconcile(optionsOf({ dryRun: true }));
    expect(all?.changes).toHaveLength(2);
    const [, summary] = await reconcile(optionsOf({ dryRun: true }));
    expect(summary?.summary).toMatchObject({ removed: 2, needsAllowRemoval: true });
  });

  test("leaves a line in the audit log for each change", async () => {
    await reconcile(optionsOf({ set: "audited" }), [declare("audited")]);
    expect(server.logged).toContainEqual(
      expect.objectContaining({
        msg: "API accessed",
        type: "audit",
        status: "success",
        method: "ReconcileEntries",
        change: "create",
        declared_at: "audited.yaml:1:1",
        declared_set: "audited",
        spiffe_id: "spiffe://example.org/audited",
      }),
    );
  });

  test("has options in its first message and nowhere else, and a name that is one", async () => {
    const invalid = { code: StatusCode.INVALID_ARGUMENT };
    expect(await refused(reconcile(undefined, [declare("x")]))).toMatchObject(invalid);
    const twice = { options: optionsOf(), entries: [] };
    expect(await refused(answers([twice, twice]))).toMatchObject(invalid);
    for (const set of ["", "a b", "x".repeat(65)]) {
      expect(await refused(reconcile(optionsOf({ set })))).toMatchObject(invalid);
    }
    expect(await refused(answers([]))).toMatchObject(invalid);
    const many = Array.from({ length: 256 }, () => []);
    expect(await refused(reconcile(optionsOf({ dryRun: true }), ...many))).toMatchObject({
      code: StatusCode.RESOURCE_EXHAUSTED,
    });
    expect(await refused(reconcile(optionsOf(), [{ entry: undefined, where: "w" }]))).toMatchObject(
      {
        ...invalid,
        message: expect.stringContaining("w: no entry is given"),
      },
    );
  });

  test("that is refused is a warning in the log: the mistake is the caller's", async () => {
    const dry = optionsOf({ dryRun: true });
    const wrong = { entry: Entry.fromPartial({}), where: "wrong.yaml:1:1" };
    const where = expect.stringContaining("wrong.yaml:1:1");
    expect(await refused(reconcile(dry, [wrong]))).toMatchObject({ message: where });
    expect(server.logged).toContainEqual(expect.objectContaining({ level: "warning", msg: where }));
    expect(server.logged.filter(({ level }) => level === "error")).toEqual([]);
  });

  test("has at most a hundred thousand entries", async () => {
    const many = Array.from({ length: 10_000 }, () => declare("x"));
    const parts = Array.from({ length: 11 }, () => many);
    expect(await refused(reconcile(optionsOf({ dryRun: true }), ...parts))).toMatchObject({
      code: StatusCode.RESOURCE_EXHAUSTED,
    });
  });

  test("waits for no third one", async () => {
    const third = async (): Promise<unknown> => {
      const two = [open(), open()];
      for (const call of two) call.send({ options: optionsOf({ dryRun: true }), entries: [] });
      const outcome = await refused(reconcile(optionsOf({ dryRun: true }))).catch(() => undefined);
      for (const call of two) {
        call.finish();
        // One of them is turned away where the third one was there before it.
        while ((await call.receive().catch(() => undefined)) !== undefined);
      }
      return outcome;
    };
    let turnedAway: unknown;
    while (turnedAway === undefined) turnedAway = await third();
    expect(turnedAway).toMatchObject({ code: StatusCode.RESOURCE_EXHAUSTED });
    expect(await reconcile(optionsOf({ dryRun: true }))).not.toBeEmpty();
  });

  test("is not taken from an agent", async () => {
    const { clients } = await joinAgent(server);
    const call = open(clients);
    call.send({ options: optionsOf(), entries: [] });
    call.finish();
    expect(await refused(call.receive())).toMatchObject({ code: StatusCode.PERMISSION_DENIED });
  });
});
