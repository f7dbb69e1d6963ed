/** What the agent writes down of what it does for workloads: who was given what, and at level debug each fetch and each entry. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, freePort } from "../support/process.ts";
import { executable, Stage, TestAgent, TestServer } from "../support/spire.ts";

const WORKLOAD = "spiffe://example.org/db";
const UID = 4300;
const STRANGER_UID = 4301;

const stage = new Stage();
let server: TestServer;
let agent: TestAgent;
let metrics: number;
let entryId: string;

beforeAll(async () => {
  metrics = await freePort();
  server = await TestServer.start(stage, "ours", { settings: "audit_log_enabled = true" });
  agent = await TestAgent.start(stage, "ours", server, {
    settings: "audit_log_enabled = true",
    more: `telemetry { Prometheus { host = "127.0.0.1" port = ${metrics} } }`,
  });
  entryId = await server.entry(WORKLOAD, agent.id, [`unix:uid:${UID}`]);
}, 90_000);

afterAll(() => stage.close(), 30_000);

async function must(...words: string[]): Promise<void> {
  const { code, stderr } = await server.cli(...words);
  if (code !== 0) throw new Error(`${words.join(" ")}: ${stderr}`);
}

type Line = Record<string, string>;

/** The fields of all lines with that message. */
function lines(message: string): Line[] {
  return agent.daemon.lines.flatMap((line) => {
    const fields = [...line.matchAll(/(\w+)=("(?:[^"\\]|\\.)*"|\S+)/g)].map(
      ([, key = "", value = ""]) => [key, value.startsWith('"') ? JSON.parse(value) : value],
    );
    const found: Line = Object.fromEntries(fields);
    return found["msg"] === message ? [found] : [];
  });
}

const linesOnce = (message: string, isMeant: (line: Line) => boolean): Promise<Line[]> =>
  eventually(`a line "${message}"`, async () => {
    const found = lines(message).filter(isMeant);
    return found.length > 0 ? found : undefined;
  });

const isOurs = ({ spiffe_id }: Line): boolean => spiffe_id === WORKLOAD;

test("each entry that comes, changes and goes is named at level debug", async () => {
  expect((await linesOnce("Entry created", isOurs))[0]).toMatchObject({
    level: "debug",
    entry_id: entryId,
  });
  const other = await server.entry("spiffe://example.org/other", agent.id, ["unix:uid:4302"]);
  const isOther = ({ entry_id }: Line): boolean => entry_id === other;
  await linesOnce("Entry created", isOther);
  await must(
    ...["entry", "update", "-entryID", other, "-parentID", agent.id],
    ...["-spiffeID", "spiffe://example.org/another", "-selector", "unix:uid:4302"],
  );
  await linesOnce("Entry updated", isOther);
  await must("entry", "delete", "-entryID", other);
  await linesOnce("Entry removed", isOther);
});

test("the figure of entries follows each change, not full synchronisations alone", async () => {
  const total = async (): Promise<number> => {
    const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
    return Number(/^spire_agent_sync_entries_total\S* (\d+)$/m.exec(text)?.[1]);
  };
  const before = await total();
  const id = await server.entry("spiffe://example.org/counted", agent.id, ["unix:uid:4303"]);
  await eventually("it is counted", async () => (await total()) === before + 1 || undefined);
  await must("entry", "delete", "-entryID", id);
  await eventually("it is counted no more", async () => (await total()) === before || undefined);
});

test("it is written down once who was given which SVID", async () => {
  await eventually("an SVID", async () => {
    const { code } = await agent.cli(["api", "fetch", "x509"], { uid: UID });
    return code === 0 ? true : undefined;
  });
  const [line] = await linesOnce("X509-SVID handed out", isOurs);
  expect(line).toMatchObject({
    level: "info",
    type: "audit",
    uid: String(UID),
    entry_id: entryId,
    service: "WorkloadAPI",
  });
  expect(line?.["pid"]).toMatch(/^\d+$/);
  expect(line?.["serial_number"]).toMatch(/^\d+$/);
  expect(line?.["expires_at"]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  const [fetched] = await linesOnce("Fetched X.509 SVID", isOurs);
  expect(fetched).toMatchObject({
    level: "debug",
    method: "FetchX509SVID",
    pid: line?.["pid"],
    uid: String(UID),
  });
});

test("a process that is given another SVID is written down again, with the new serial number", async () => {
  const program = executable("ours", "spire-agent");
  const command = [program, "api", "watch", "-socketPath", agent.socket];
  const watch = stage.daemon(command, join(stage.room("watch"), "log"), { uid: UID });
  await watch.line((line) => line.startsWith("Received 1 svid"));
  await must(
    ...["entry", "update", "-entryID", entryId, "-parentID", agent.id, "-spiffeID", WORKLOAD],
    ...["-selector", `unix:uid:${UID}`, "-dns", "db.example.org"],
  );
  const [second] = await linesOnce("X509-SVID rotated", isOurs);
  const [first, ...more] = lines("X509-SVID handed out").filter(
    ({ pid }) => pid === second?.["pid"],
  );
  expect(more).toEqual([]);
  expect(second?.["serial_number"]).not.toBe(first?.["serial_number"]);
  expect(second).toMatchObject({ spiffe_id: WORKLOAD, uid: String(UID), type: "audit" });
  await watch.stop();
});

test("so is a JWT-SVID, with its audience and without the token", async () => {
  const { stdout } = await agent.cli(["api", "fetch", "jwt", "-audience", "billing"], { uid: UID });
  const [line] = await linesOnce("JWT-SVID handed out", isOurs);
  expect(line).toMatchObject({ audience: "billing", uid: String(UID), type: "audit" });
  const token = /(eyJ[\w-]+\.[\w-]+\.[\w-]+)/.exec(stdout)?.[1] ?? "";
  expect(token).not.toBe("");
  expect(agent.daemon.lines.join("\n")).not.toContain(token);
  await linesOnce("Fetched JWT SVID", isOurs);
});

test("a workload without an identity is a warning, in no flood", async () => {
  for (let call = 0; call < 3; call += 1) {
    await agent.cli(["api", "fetch", "x509"], { uid: STRANGER_UID });
  }
  const isStranger = ({ uid }: Line): boolean => uid === String(STRANGER_UID);
  const [line] = await linesOnce("No identity issued", isStranger);
  expect(line).toMatchObject({ level: "warning", registered: "false" });
});

test("the start says what runs and where, and no time is told in Unix seconds", async () => {
  expect(lines("Starting agent")[0]).toMatchObject({
    level: "info",
    version: expect.stringMatching(/^\d/),
    trust_domain_id: "spiffe://example.org",
    server_address: `127.0.0.1:${server.port}`,
    socket_path: agent.socket,
  });
  const started = await server.daemon.line((line) => line.includes('msg="Starting server"'));
  for (const word of ["version=", "trust_domain_id=", "address=", "datastore=", "data_dir="]) {
    expect(started).toContain(word);
  }
  const all = [...agent.daemon.lines, ...server.daemon.lines];
  expect(all.filter((line) => /=1[6-9]\d{8}(\s|$)/.test(line))).toEqual([]);
});

test("the key switches the record off while the agent runs", async () => {
  const text = readFileSync(agent.configuration, "utf8");
  writeFileSync(agent.configuration, text.replace("enabled = true", "enabled = false"));
  process.kill(agent.daemon.pid, "SIGHUP");
  await agent.daemon.line((line) => line.includes("Agent reloaded"));
  const before = lines("X509-SVID handed out").length;
  expect((await agent.cli(["api", "fetch", "x509"], { uid: UID })).code).toBe(0);
  await eventually(
    "the fetch",
    async () => lines("Fetched X.509 SVID").filter(isOurs).length > before || undefined,
  );
  expect(lines("X509-SVID handed out")).toHaveLength(before);
});
