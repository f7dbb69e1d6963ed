/** The agent's synchronisation, with executables: what the server changes reaches workloads, whatever happens in between. */
import { afterAll, expect, test } from "bun:test";
import { once } from "node:events";
import { readFile, rename, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { Metadata } from "@grpc/grpc-js";
import { readStream, unixChannel } from "#grpc/client.ts";
import { SpiffeWorkloadAPIClient, type X509SVIDResponse } from "#proto/spiffe/workload/workload.ts";
import { Certificate } from "#x509/certificate.ts";
import { splitCertificates } from "#x509/der.ts";
import { certificatesFromPem } from "#x509/pem.ts";
import { eventually, run } from "../support/process.ts";
import { Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

const NEVER = 'experimental { sync_interval = "1h" }';
const OFTEN = 'experimental { sync_interval = "1s" }';

const id = (path: string): string => `spiffe://${TRUST_DOMAIN}${path}`;

/** The SPIFFE IDs a workload of that uid is served, or what it is told instead. */
async function served(agent: TestAgent, uid: number): Promise<string> {
  const { code, stdout, stderr } = await agent.cli(
    ["api", "fetch", "x509", "-output", "json", "-timeout", "2s"],
    { uid },
  );
  if (code !== 0) return stderr.trim();
  const { svids } = JSON.parse(stdout) as { svids: { spiffe_id: string }[] };
  return svids.map((svid) => svid.spiffe_id).join();
}

async function becomes(agent: TestAgent, uid: number, expected: RegExp): Promise<void> {
  await eventually(`uid ${uid} is served ${expected}`, async () => {
    const now = await served(agent, uid);
    if (expected.test(now)) return true;
    throw new Error(now);
  });
}

/** An agent that serves a first entry, so that it has no reason to ask before its interval is over. */
async function settled(server: TestServer, settings: string): Promise<TestAgent> {
  const agent = await TestAgent.prepare(stage, "ours", server, { settings });
  await server.entry(id("/first"), agent.id, ["unix:uid:1"]);
  await agent.start();
  await becomes(agent, 1, /\/first$/);
  return agent;
}

const agentId = (token: string): string => id(`/spire/agent/join_token/${token}`);

/** An agent that reads its join token from a file, settled. */
async function withTokenFile(
  server: TestServer,
  settings: string,
): Promise<TestAgent & { putToken(token: string): Promise<void> }> {
  const agent = await TestAgent.prepare(stage, "ours", server, { settings });
  const path = join(agent.directory, "token");
  const putToken = async (token: string): Promise<void> => {
    await writeFile(path, `${token}\n`, { mode: 0o600 });
  };
  await putToken(agent.token);
  const configuration = await readFile(agent.configuration, "utf8");
  await writeFile(
    agent.configuration,
    configuration.replace(/join_token = .*/, `join_token_file = "${path}"`),
  );
  await server.entry(id("/first"), agent.id, ["unix:uid:1"]);
  await agent.start();
  await becomes(agent, 1, /\/first$/);
  return Object.assign(agent, { putToken });
}

/** The serial number of uid 1's SVID. */
async function serial(agent: TestAgent): Promise<bigint> {
  const { stdout } = await agent.cli(["api", "fetch", "x509", "-output", "json"], { uid: 1 });
  const { svids } = JSON.parse(stdout) as { svids: { x509_svid: string }[] };
  const chain = splitCertificates(Buffer.from(svids[0]?.x509_svid ?? "", "base64"));
  return Certificate.parse(chain[0] ?? new Uint8Array()).serialNumber;
}

async function jwt(agent: TestAgent, uid: number): Promise<string> {
  const words = ["api", "fetch", "jwt", "-audience", "x", "-output", "json"];
  const { stdout } = await agent.cli(words, { uid });
  const [{ svids }] = JSON.parse(stdout) as [{ svids: { svid: string }[] }];
  return svids[0]?.svid ?? "";
}

async function jwtKeyId(agent: TestAgent): Promise<string> {
  const [header = ""] = (await jwt(agent, 1)).split(".");
  return (JSON.parse(Buffer.from(header, "base64url").toString()) as { kid: string }).kid;
}

test("what changes on the server reaches a workload although the agent asks but once an hour", async () => {
  const server = await TestServer.start(stage, "ours");
  const agent = await settled(server, NEVER);
  const entry = await server.entry(id("/second"), agent.id, ["unix:uid:2"]);
  await becomes(agent, 2, /\/second$/);
  const changed = ["-entryID", entry, "-parentID", agent.id, "-selector", "unix:uid:2"];
  await server.cli("entry", "update", ...changed, "-spiffeID", id("/renamed"));
  await becomes(agent, 2, /\/renamed$/);
  await server.cli("entry", "delete", "-entryID", entry);
  await becomes(agent, 2, /PermissionDenied/);
  await becomes(agent, 1, /\/first$/);
}, 60_000);

test("an agent that is told to stop says so to the workloads whose streams are open", async () => {
  const server = await TestServer.start(stage, "ours");
  const agent = await settled(server, OFTEN);
  await server.entry(id("/root"), agent.id, ["unix:uid:0"]);
  await becomes(agent, 0, /root$/);
  const { address, credentials, options } = unixChannel(agent.socket);
  const metadata = new Metadata();
  metadata.set("workload.spiffe.io", "true");
  const client = new SpiffeWorkloadAPIClient(address, credentials, options);
  const seen: string[] = [];
  const following = (async () => {
    for await (const { svids } of readStream<X509SVIDResponse>(
      client.fetchX509Svid({}, metadata),
    )) {
      seen.push(...svids.map(({ spiffeId }) => spiffeId));
      agent.daemon.signal("SIGTERM");
    }
  })();
  await expect(following).rejects.toThrow("the agent is stopping");
  expect(seen).toEqual([id("/root")]);
  expect(await agent.daemon.exited).toBe(0);
  client.close();
}, 60_000);

test("an agent that was evicted throws its SVID away and ends with 1", async () => {
  const server = await TestServer.start(stage, "ours");
  const agent = await settled(server, NEVER);
  expect((await server.cli("agent", "evict", "-spiffeID", agent.id)).code).toBe(0);
  expect(await agent.daemon.exited).toBe(1);
  const state = JSON.parse(await Bun.file(join(agent.directory, "data/agent-data.json")).text());
  expect(state.svid).toBeNull();
}, 60_000);

test("an agent that was evicted joins again where there is a new token, and its workloads are served on", async () => {
  const server = await TestServer.start(stage, "ours");
  const agent = await withTokenFile(server, NEVER);
  const token = await server.token();
  await server.entry(id("/later"), agentId(token), ["unix:uid:1"]);
  await agent.putToken(token);
  expect((await server.cli("agent", "evict", "-spiffeID", agent.id)).code).toBe(0);
  await becomes(agent, 1, /\/later$/);
  expect(agent.daemon.running).toBe(true);
}, 60_000);

/** Workloads' SVIDs begin ten seconds ago, so these are due after five seconds, and then good for another fifteen. */
const SHORT_LIVED = 'default_x509_svid_ttl = "20s"\n agent_ttl = "1h"';
/** Due at once, and good for eight seconds; the agent's own too. */
const SHORTEST_LIVED = 'default_x509_svid_ttl = "8s"';

test.each(["ours", "reference"] as const)(
  "a server (%s) that is away for long is noticed by no workload, and then caught up with",
  async (kind) => {
    const server = await TestServer.start(stage, kind, { settings: SHORT_LIVED });
    const agent = await settled(server, OFTEN);
    await server.daemon.stop();
    const before = await serial(agent);
    let isOver = false;
    const failed = agent.daemon
      .line((line) => line.includes("Could not get X509-SVIDs"))
      .finally(() => {
        isOver = true;
      });
    while (!isOver) expect(await served(agent, 1)).toBe(id("/first"));
    await failed;
    expect(await serial(agent)).toBe(before);
    await server.start();
    await eventually("a new SVID", async () => (await serial(agent)) !== before || undefined);
    const entry = await server.entry(id("/second"), agent.id, ["unix:uid:2"]);
    await becomes(agent, 2, /\/second$/);
    await server.cli("entry", "delete", "-entryID", entry);
    await becomes(agent, 2, /PermissionDenied/);
  },
  120_000,
);

test("when all SVIDs have run out the agent goes on trying, says what is wrong, and joins again by a new token", async () => {
  const server = await TestServer.start(stage, "ours", { settings: SHORTEST_LIVED });
  const agent = await withTokenFile(server, OFTEN);
  await server.daemon.stop();
  await becomes(agent, 1, /Unavailable.*cannot reach its server/);
  await agent.daemon.line((line) => line.includes("The agent's SVID has expired"));
  await server.start();
  const token = await server.token();
  await server.entry(id("/later"), agentId(token), ["unix:uid:1"]);
  await agent.putToken(token);
  await becomes(agent, 1, /\/later$/);
}, 120_000);

test("what a tainted authority signed is replaced at once, the agent's own SVID too", async () => {
  const server = await TestServer.start(stage, "ours");
  const agent = await settled(server, NEVER);
  const [before, token] = [await serial(agent), await jwtKeyId(agent)];
  for (const kind of ["x509", "jwt"]) {
    const shown = await server.json("localauthority", kind, "show");
    const { authority_id: old } = shown["active"] as { authority_id: string };
    const prepared = await server.json("localauthority", kind, "prepare");
    const { authority_id: next } = prepared["prepared_authority"] as { authority_id: string };
    await server.json("localauthority", kind, "activate", "-authorityID", next);
    await server.json("localauthority", kind, "taint", "-authorityID", old);
  }
  await eventually("a new SVID", async () => (await serial(agent)) !== before || undefined);
  await eventually(
    "a token of the new key",
    async () => (await jwtKeyId(agent)) !== token || undefined,
  );
  await agent.daemon.line((line) => line.includes("Successfully rotated agent SVID"));
}, 60_000);

test("below an upstream authority that is tainted everything is replaced, although it was signed by a server's CA", async () => {
  const directory = stage.room("upstream");
  const keyIds: string[] = [];
  for (const name of ["upstream", "second"]) {
    const made = await run(
      [
        ...`openssl req -x509 -newkey ec -nodes -days 3 -subj /CN=${name}`.split(" "),
        ...`-keyout ${name}.key -out ${name}.pem -pkeyopt ec_paramgen_curve:P-256`.split(" "),
        ...["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
      ],
      { cwd: directory },
    );
    if (made.code !== 0) throw new Error(made.stderr);
    const [der] = certificatesFromPem(await readFile(join(directory, `${name}.pem`), "utf8"));
    const { subjectKeyId } = Certificate.parse(der ?? new Uint8Array()).extensions;
    keyIds.push(Buffer.from(subjectKeyId ?? []).toString("hex"));
  }
  const path = (end: string): string => join(directory, `upstream.${end}`);
  const server = await TestServer.start(stage, "ours", {
    plugins: `UpstreamAuthority "disk" {
  plugin_data {
    cert_file_path = "${path("pem")}"
    key_file_path = "${path("key")}"
  }
}`,
  });
  const agent = await settled(server, NEVER);
  const before = await serial(agent);
  for (const end of ["key", "pem"]) await rename(join(directory, `second.${end}`), path(end));
  const next = await eventually("a CA below the new upstream", async () => {
    const { prepared } = await server.json("localauthority", "x509", "show");
    return (prepared as { authority_id: string } | undefined)?.authority_id;
  });
  await server.json("localauthority", "x509", "activate", "-authorityID", next);
  expect(await serial(agent)).toBe(before);
  await server.json("upstreamauthority", "taint", "-subjectKeyID", keyIds[0] ?? "");
  await eventually("a new SVID", async () => (await serial(agent)) !== before || undefined);
  await agent.daemon.line((line) => line.includes("Successfully rotated agent SVID"));
}, 60_000);

test("a JWT-SVID with an ID of its own is never the same twice", async () => {
  const server = await TestServer.start(stage, "ours");
  const agent = await settled(server, NEVER);
  await server.entry(id("/once"), agent.id, ["unix:uid:2"], "-jwtSVIDIncludeJTI");
  await becomes(agent, 2, /\/once$/);
  expect(await jwt(agent, 2)).not.toBe(await jwt(agent, 2));
  expect(await jwt(agent, 1)).toBe(await jwt(agent, 1));
}, 60_000);

test("with a small cache every workload is served, whether its SVID was there before or not", async () => {
  const server = await TestServer.start(stage, "ours");
  const agent = await settled(server, `x509_svid_cache_max_size = 1\n${NEVER}`);
  await server.entry(id("/second"), agent.id, ["unix:uid:2"], "-disableX509SVIDPrefetch");
  await server.entry(id("/third"), agent.id, ["unix:uid:3"]);
  for (const [uid, name] of [
    [2, "second"],
    [3, "third"],
    [1, "first"],
    [2, "second"],
  ] as const) {
    await becomes(agent, uid, new RegExp(`/${name}$`));
  }
  expect(agent.daemon.lines.join("\n")).not.toContain("has no effect");
}, 60_000);

test("an agent that waits for an answer of its server stops at once when told", async () => {
  const server = await TestServer.start(stage, "ours");
  const agent = await settled(server, OFTEN);
  await server.daemon.kill();
  // As a machine of the same address that is not up yet: a connection is made, and nothing comes.
  const silent = createServer();
  silent.listen(server.port, "127.0.0.1");
  await once(silent, "connection");
  agent.daemon.signal("SIGTERM");
  expect(await agent.daemon.exited).toBe(0);
  silent.close();
}, 60_000);
