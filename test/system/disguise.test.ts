/** A process that connects, and then takes on the ids of others by a set-user-ID program: a child with its socket gets nothing of theirs. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, copyFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, run } from "../support/process.ts";
import { Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const SCRIPT = join(import.meta.dir, "disguise.py");
const NOBODY = 65_534;
const idOf = (name: string): string => `spiffe://${TRUST_DOMAIN}/${name}`;

const stage = new Stage();
let agent: TestAgent;

beforeAll(async () => {
  const server = await TestServer.start(stage, "ours");
  agent = await TestAgent.start(stage, "ours", server);
  await server.entry(idOf("root"), agent.id, ["unix:uid:0"]);
  await server.entry(idOf("nobody"), agent.id, [`unix:uid:${NOBODY}`]);
  await eventually("an SVID", async () =>
    (await agent.cli(["api", "fetch", "x509"])).code === 0 ? true : undefined,
  );
}, 60_000);

afterAll(() => stage.close(), 60_000);

/** What the child of such a process is told. */
async function told(...program: string[]): Promise<string> {
  const done = await run(["python3", SCRIPT, agent.socket, ...program]);
  expect(done.stderr).toBe("");
  return done.stdout;
}

test("a child of one that stays what it is gets its parent's SVID", async () => {
  const answer = await told();
  expect(answer).toContain(idOf("nobody"));
  expect(answer).not.toContain(idOf("root"));
}, 30_000);

test.each([
  ["user", 0o4755],
  ["group", 0o2755],
])(
  "a set-%s-ID program in its place: no SVID, and the log says why",
  async (kind, mode) => {
    const program = join(stage.room(kind), "sleep");
    copyFileSync("/usr/bin/sleep", program);
    chmodSync(program, mode);
    const seen = agent.daemon.lines.length;
    const answer = await told(program);
    expect(answer).not.toContain("spiffe://");
    const isReason = (line: string): boolean => line.includes("when it connected");
    expect(await agent.daemon.line(isReason, 5_000, seen)).toContain(`uid ${NOBODY}`);
  },
  30_000,
);
