/** The agent's synchronisation, with executables: what the server changes reaches workloads, whatever happens in between. */
import { afterAll, expect, test } from "bun:test";
import { Metadata } from "@grpc/grpc-js";
import { readStream, unixChannel } from "#grpc/client.ts";
import {
  SpiffeWorkloadAPIClient,
  type X509SVIDResponse,
} from "#grpc/gen/spiffe/workload/workload.ts";
import { eventually } from "../support/process.ts";
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
