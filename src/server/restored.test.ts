/** Which SVIDs of agents a restored server takes that its datastore does not know. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#clock/clock.ts";
import { createLog } from "#log/log.ts";
import type { RenewAgentResponse } from "#proto/spire/api/server/agent/v1/agent.ts";
import { type LostTime, lostTimePath, readLostTime, writeLostTime } from "./restored.ts";
import {
  type ClientIdentity,
  identityOf,
  type JoinedAgent,
  joinAgent,
  newKey,
  refused,
  ShiftedClock,
  startTestServer,
  type TestServer,
  testConfig,
  unary,
} from "./server.fixture.ts";

let root: string;
let clock: ShiftedClock;
let before: TestServer;
let agent: JoinedAgent;
let restored: TestServer | undefined;

const config = (directory: string) => ({
  plugins: {
    ...testConfig(directory).plugins,
    keyManager: { name: "disk", keysPath: join(directory, "data", "keys.json") } as const,
  },
});

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "restored-"));
  clock = new ShiftedClock();
  const directory = join(root, "before");
  before = await startTestServer(config(directory), directory, clock);
  agent = await joinAgent(before);
});

afterEach(async () => {
  await restored?.stop();
  restored = undefined;
  rmSync(root, { recursive: true, force: true });
});

/** A minute later, the agent has another SVID, and has called with it. */
async function renew(identity: ClientIdentity): Promise<ClientIdentity> {
  clock.advance(60);
  const key = await newKey();
  const { svid } = await unary<RenewAgentResponse>((done) =>
    before.remote(identity).agent.renewAgent({ params: { csr: key.csr } }, done),
  );
  const renewed = identityOf(key, svid);
  await sync(before, renewed);
  return renewed;
}

function sync(server: TestServer, identity: ClientIdentity): Promise<unknown> {
  const { entry } = server.remote(identity);
  return unary((done) => entry.getAuthorizedEntries({ outputMask: undefined }, done));
}

/** What is stored at this moment, for a server that is started with it later. */
async function copyState(): Promise<string> {
  const directory = join(root, "restored");
  cpSync(join(root, "before", "data"), join(directory, "data"), { recursive: true });
  return directory;
}

async function startRestored(directory: string, lostTime?: LostTime): Promise<TestServer> {
  await before.stop();
  if (lostTime !== undefined) await writeLostTime(join(directory, "data"), lostTime);
  restored = await startTestServer(config(directory), directory, clock);
  return restored;
}

const code = async (call: Promise<unknown>): Promise<unknown> =>
  ((await refused(call)) as { code: unknown }).code;
const PERMISSION_DENIED = 7;

test("the newest one that was issued since the backup is good, and from then on no other", async () => {
  const directory = await copyState();
  const from = clock.nowSeconds();
  const second = await renew(agent.identity);
  const third = await renew(second);
  const server = await startRestored(directory, { from, until: clock.nowSeconds() });
  // The backup's is good until the agent has shown another, as after any renewal.
  await sync(server, agent.identity);
  await sync(server, third);
  expect(await code(sync(server, second))).toBe(PERMISSION_DENIED);
  expect(await code(sync(server, agent.identity))).toBe(PERMISSION_DENIED);
  await sync(server, third);
  // It can be renewed as any other, and then is good no more itself.
  clock.advance(60);
  const key = await newKey();
  const { svid } = await unary<RenewAgentResponse>((done) =>
    server.remote(third).agent.renewAgent({ params: { csr: key.csr } }, done),
  );
  await sync(server, identityOf(key, svid));
  expect(await code(sync(server, third))).toBe(PERMISSION_DENIED);
}, 30_000);

test.each([
  ["no restore at all", () => undefined],
  ["issued before the backup", (now: number) => ({ from: now + 1, until: now + 600 })],
  ["issued after the restore", (now: number) => ({ from: now - 600, until: now - 30 })],
] as const)(
  "an SVID that the datastore does not know is refused: %s",
  async (_, lostTime) => {
    const directory = await copyState();
    const second = await renew(agent.identity);
    const server = await startRestored(directory, lostTime(clock.nowSeconds()));
    expect(await code(sync(server, second))).toBe(PERMISSION_DENIED);
  },
  30_000,
);

test("an agent that the backup knows as banned stays so", async () => {
  const renewed = await renew(agent.identity);
  const from = clock.nowSeconds() - 120;
  await unary((done) => before.local.agent.banAgent({ id: agent.id }, done));
  const directory = await copyState();
  const server = await startRestored(directory, { from, until: clock.nowSeconds() });
  expect(await code(sync(server, renewed))).toBe(PERMISSION_DENIED);
}, 30_000);

test("a note that makes no sense is logged and lets nobody in", () => {
  const warned: string[] = [];
  const log = createLog({ level: "debug", format: "text" }, () => systemClock.nowMs(), {
    write: (line) => void warned.push(line),
  });
  expect(readLostTime(root, log)).toBeUndefined();
  expect(warned).toEqual([]);
  writeFileSync(lostTimePath(root), `{"backup_made_at": 1}`);
  expect(readLostTime(root, log)).toBeUndefined();
  expect(warned.join("")).toContain("will have to attest again");
});
