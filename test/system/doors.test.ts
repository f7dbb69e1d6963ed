/**
 * Doors an operator closes, and doors that were never open: after each, somebody tries, with everything an intruder could have: an
 * agent's own SVID and key from its disk, a token that was seen on the way, an SVID of a neighbour.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createPrivateKey } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ServiceError } from "@grpc/grpc-js";
import { statusErrorFrom } from "#grpc/status.ts";
import type { RenewAgentResponse } from "#proto/spire/api/server/agent/v1/agent.ts";
import type { BatchNewX509SVIDResponse } from "#proto/spire/api/server/svid/v1/svid.ts";
import {
  attest,
  type ClientIdentity,
  type Clients,
  closeClients,
  identityOf,
  newKey,
  refused,
  remoteClients,
  unary,
} from "#server/server.fixture.ts";
import { createCsr } from "#x509/csr.ts";
import { signerFromPrivateKey } from "#x509/keys.ts";
import { certificatesToPem } from "#x509/pem.ts";
import { identityOnDisk } from "../support/agent-identity.ts";
import { REFUSED } from "../support/joining-node.ts";
import { type Daemon, eventually, run } from "../support/process.ts";
import { GO_CLIENT, Stage, TestAgent, TestServer, TRUST_DOMAIN } from "../support/spire.ts";

const QUICK_SYNC = 'experimental { sync_interval = "1s" }';
const WORKLOAD_UID = 1;
const USED_TOKEN = {
  code: 3,
  details: "failed to attest: join token does not exist or has already been used",
};

const stage = new Stage();
const opened: Clients[] = [];
let server: TestServer;

beforeAll(async () => {
  server = await TestServer.start(stage, "ours", {
    settings: "ratelimit { attestation = false }",
  });
}, 60_000);

afterAll(async () => {
  for (const clients of opened) closeClients(clients);
  await stage.close();
}, 60_000);

/** Clients that show an SVID, or nothing; they believe any server. */
function as(identity?: ClientIdentity, target: TestServer = server): Clients {
  const clients = remoteClients(`127.0.0.1:${target.port}`, identity);
  opened.push(clients);
  return clients;
}

/** Joins without an agent's process, so that nothing renews or ends by itself. */
async function joinByHand(target: TestServer = server): Promise<ClientIdentity> {
  const key = await newKey();
  const params = { payload: await target.token(), csr: key.csr };
  const { step } = await attest(as(undefined, target).agent, params);
  if (step?.$case !== "result") throw new Error("the attestation did not end with a result");
  return identityOf(key, step.value.svid);
}

/** A request that is signed with a key from a disk. */
function csrOf({ privateKeyPem }: ClientIdentity): Promise<Uint8Array> {
  return createCsr({ signer: signerFromPrivateKey(createPrivateKey(privateKeyPem)) });
}

/** Resolves with the first answer of a stream; rejects when it ends before one. */
function firstOf(stream: {
  on(event: "data" | "error" | "end", heard: (value: Error) => void): unknown;
}): Promise<unknown> {
  return new Promise((resolve, reject) => {
    stream.on("data", resolve);
    stream.on("error", reject);
    stream.on("end", () => reject(new Error("the stream ended")));
  });
}

/** Every method that agents call. */
const AGENT_DOORS: Readonly<Record<string, (clients: Clients) => Promise<unknown>>> = {
  getAuthorizedEntries: ({ entry }) =>
    unary((done) => entry.getAuthorizedEntries({ outputMask: undefined }, done)),
  syncAuthorizedEntries: ({ entry }) => {
    const stream = entry.syncAuthorizedEntries();
    stream.write({ outputMask: undefined, ids: [] });
    stream.end();
    return firstOf(stream);
  },
  watchChanges: ({ changes }) => firstOf(changes.watchChanges({})),
  batchNewX509Svid: async ({ svid }) => {
    const params = [{ entryId: "none", csr: (await newKey()).csr }];
    return unary((done) => svid.batchNewX509Svid({ params }, done));
  },
  newJwtSvid: ({ svid }) =>
    unary((done) => svid.newJwtsvid({ entryId: "none", audience: ["a"] }, done)),
  getFederatedBundle: ({ bundle }) =>
    unary((done) =>
      bundle.getFederatedBundle({ trustDomain: "other.org", outputMask: undefined }, done),
    ),
  postStatus: ({ agent }) =>
    unary((done) => agent.postStatus({ agentVersion: "", currentBundleSerial: 0 }, done)),
  renewAgent: async ({ agent }) => {
    const params = { csr: (await newKey()).csr };
    return unary((done) => agent.renewAgent({ params }, done));
  },
};

/** What each door says: why it stays closed, or that it is open, whatever the room behind it then answers. */
async function knock(clients: Clients): Promise<Record<string, string>> {
  const heard: Record<string, string> = {};
  for (const [name, open] of Object.entries(AGENT_DOORS)) {
    heard[name] = await open(clients).then(
      () => "open",
      (error: ServiceError) => {
        const { code, reason } = statusErrorFrom(error);
        if (reason !== undefined) return reason;
        // INVALID_ARGUMENT and NOT_FOUND are about what was asked for, after the caller was let in.
        return code === 3 || code === 5 ? "open" : `closed with ${code}`;
      },
    );
  }
  return heard;
}

function everyDoor(says: string): Record<string, string> {
  return Object.fromEntries(Object.keys(AGENT_DOORS).map((name) => [name, says]));
}

/** An agent whose workload watches, with what is on its disk. */
interface Victim {
  readonly agent: TestAgent;
  readonly identity: ClientIdentity;
  readonly entryId: string;
  readonly watching: Daemon;
}

async function victim(name: string): Promise<Victim> {
  const agent = await TestAgent.start(stage, "ours", server, { settings: QUICK_SYNC });
  const selectors = [`unix:uid:${WORKLOAD_UID}`];
  const entryId = await server.entry(`spiffe://${TRUST_DOMAIN}/${name}`, agent.id, selectors);
  const log = join(agent.directory, "watch.log");
  const watching = stage.daemon([GO_CLIENT, "watch", agent.socket], log, { uid: WORKLOAD_UID });
  await watching.line((line) => line.includes(`${TRUST_DOMAIN}/${name}"`));
  return { agent, identity: identityOnDisk(agent), entryId, watching };
}

/** The agent's process ends, keeps no SVID, and its workloads are served no more. */
async function isGone({ agent, watching }: Victim, code: number): Promise<void> {
  expect(await agent.daemon.exited).toBe(code);
  const kept = JSON.parse(readFileSync(join(agent.directory, "data", "agent-data.json"), "utf8"));
  expect(kept["svid"]).toBeNull();
  await watching.line((line) => line.includes("code = Unavailable"));
}

async function operator(...words: string[]): Promise<void> {
  const answer = await server.cli(...words);
  if (answer.code !== 0) throw new Error(answer.stderr);
}

describe("an operator closes", () => {
  test("by a ban: every door of the agent, the one it stands in, and the way back", async () => {
    const banned = await victim("banned");
    const clients = as(banned.identity);
    expect(await knock(clients)).toEqual(everyDoor("open"));
    const standing = clients.changes.watchChanges({});
    const left = new Promise((resolve) => standing.on("error", resolve).on("end", resolve));
    await firstOf(standing);
    await operator("agent", "ban", "-spiffeID", banned.agent.id);
    expect(await knock(clients)).toEqual(everyDoor("AGENT_BANNED"));
    expect(await knock(as(banned.identity))).toEqual(everyDoor("AGENT_BANNED"));
    await left;
    const again = { payload: banned.agent.token, csr: await csrOf(banned.identity) };
    expect(await refused(attest(as().agent, again))).toMatchObject({
      code: 7,
      details: "failed to attest: agent is banned",
    });
    await isGone(banned, REFUSED);
    const daemon = banned.agent.launch();
    expect(await daemon.exited).toBe(REFUSED);
  }, 60_000);

  test("by an eviction: every door, and the minute in which the token could be used again", async () => {
    const evicted = await victim("evicted");
    const clients = as(evicted.identity);
    await operator("agent", "evict", "-spiffeID", evicted.agent.id);
    expect(await knock(clients)).toEqual(everyDoor("AGENT_NOT_ATTESTED"));
    const again = { payload: evicted.agent.token, csr: await csrOf(evicted.identity) };
    expect(await refused(attest(as().agent, again))).toMatchObject(USED_TOKEN);
    await isGone(evicted, 1);
    const daemon = evicted.agent.launch();
    expect(await daemon.exited).toBe(REFUSED);
    expect(daemon.lines.join("\n")).toContain("join token does not exist");
  }, 60_000);

  test("by deleting an entry: its workload loses the identity, its agent the right to it", async () => {
    const { agent, identity, entryId, watching } = await victim("deleted");
    const kept = `spiffe://${TRUST_DOMAIN}/kept`;
    await server.entry(kept, agent.id, [`unix:uid:${WORKLOAD_UID}`]);
    await watching.line((line) => line.includes("/deleted") && line.includes("/kept"));
    const from = watching.lines.length;
    await operator("entry", "delete", "-entryID", entryId);
    await watching.line(
      (line) => line.includes("/kept") && !line.includes("/deleted"),
      30_000,
      from,
    );
    const { svid } = as(identity);
    const params = [{ entryId, csr: (await newKey()).csr }];
    const { results } = await unary<BatchNewX509SVIDResponse>((done) =>
      svid.batchNewX509Svid({ params }, done),
    );
    const refusal = "entry not found or not authorized";
    expect(results).toMatchObject([{ status: { code: 5, message: refusal }, svid: undefined }]);
    const jwt = unary((done) => svid.newJwtsvid({ entryId, audience: ["a"] }, done));
    expect(await refused(jwt)).toMatchObject({ code: 5, details: refusal });
    const words = ["api", "fetch", "jwt", "-audience", "a", "-spiffeID"];
    const uid = WORKLOAD_UID;
    const fetched = await agent.cli([...words, `spiffe://${TRUST_DOMAIN}/deleted`], { uid });
    expect(fetched.code).toBe(1);
    expect((await agent.cli([...words, kept], { uid })).code).toBe(0);
  }, 60_000);

  test("by deleting a token: whoever has it", async () => {
    const payload = await server.token();
    const words = ["token", "delete", "-file", "-"];
    expect((await server.cliOf("ours", words, { input: payload })).code).toBe(0);
    const { csr } = await newKey();
    expect(await refused(attest(as().agent, { payload, csr }))).toMatchObject(USED_TOKEN);
  });
});

describe("an authority that was rotated", () => {
  async function order(...words: string[]): Promise<string> {
    const answer = await server.cli("localauthority", ...words);
    if (answer.code !== 0) throw new Error(answer.stderr);
    return /Authority ID: (\w+)/.exec(answer.stdout)?.[1] ?? "";
  }

  /** Puts another authority in the place of the active one; gives the ID of the old. */
  async function replace(kind: "x509" | "jwt"): Promise<string> {
    const old = await order(kind, "show");
    await order(kind, "activate", "-authorityID", await order(kind, "prepare"));
    return old;
  }

  test("tainted and revoked, takes the agents and workloads it vouched for along", async () => {
    const agent = await joinByHand();
    const directory = stage.room("chains");
    mkdirSync(join(directory, "minted"));
    const mint = async (): Promise<void> => {
      const svid = await server.json("x509", "mint", "-spiffeID", `spiffe://${TRUST_DOMAIN}/peer`);
      const chain = (svid["x509_svid"] as string[]).map((der) => Buffer.from(der, "base64"));
      writeFileSync(join(directory, "minted", "svid.pem"), certificatesToPem(chain));
    };
    const verify = async (): Promise<number> => {
      const bundle = await server.bundleFile();
      const words = ["verify", bundle, TRUST_DOMAIN, join(directory, "minted")];
      return (await run([GO_CLIENT, ...words])).code;
    };
    await mint();
    const old = await replace("x509");
    await order("x509", "taint", "-authorityID", old);
    expect(await knock(as(agent))).toEqual(everyDoor("open"));
    expect(await verify()).toBe(0);
    const connected = as(agent);
    expect((await knock(connected))["postStatus"]).toBe("open");
    await order("x509", "revoke", "-authorityID", old);
    expect(await knock(connected)).toEqual(everyDoor("closed with 16"));
    expect(await knock(as(agent))).toEqual(everyDoor("closed with 16"));
    expect(await verify()).toBe(1);
    await mint();
    expect(await verify()).toBe(0);
    expect(await knock(as(await joinByHand()))).toEqual(everyDoor("open"));
  }, 60_000);

  test("revoked, takes the JWT-SVIDs along that it signed", async () => {
    const agent = await TestAgent.start(stage, "ours", server, { settings: QUICK_SYNC });
    const words = ["jwt", "mint", "-spiffeID", `spiffe://${TRUST_DOMAIN}/peer`, "-audience", "a"];
    const token = (await server.cli(...words)).stdout.trim();
    const validate = async (): Promise<number> => {
      const asked = ["api", "validate", "jwt", "-audience", "a", "-svid", token];
      return (await agent.cli(asked)).code;
    };
    await server.entry(`spiffe://${TRUST_DOMAIN}/asks`, agent.id, ["unix:uid:0"]);
    await eventually("the JWT-SVID is valid", async () =>
      (await validate()) === 0 ? true : undefined,
    );
    const old = await replace("jwt");
    await order("jwt", "taint", "-authorityID", old);
    await order("jwt", "revoke", "-authorityID", old);
    await eventually("the JWT-SVID is valid no more", async () =>
      (await validate()) === 1 ? true : undefined,
    );
  }, 60_000);
});

describe("nobody gets in", () => {
  test("with an agent's SVID that expired", async () => {
    const brief = await TestServer.start(stage, "ours", { settings: 'agent_ttl = "4s"' });
    const agent = await joinByHand(brief);
    const before = as(agent, brief);
    expect((await knock(before))["postStatus"]).toBe("open");
    await eventually("the SVID has expired", async () =>
      (await knock(before))["postStatus"] === "AGENT_EXPIRED" ? true : undefined,
    );
    expect(await knock(before)).toEqual(everyDoor("AGENT_EXPIRED"));
    expect(await knock(as(agent, brief))).toEqual(everyDoor("AGENT_EXPIRED"));
  }, 60_000);

  test("with the SVID an agent had before it renewed", async () => {
    const former = await joinByHand();
    const key = await newKey();
    const { svid } = await unary<RenewAgentResponse>((done) =>
      as(former).agent.renewAgent({ params: { csr: key.csr } }, done),
    );
    const renewed = as(identityOf(key, svid));
    const sync = AGENT_DOORS["getAuthorizedEntries"];
    await sync?.(as(former));
    await unary((done) =>
      renewed.agent.postStatus({ agentVersion: "", currentBundleSerial: 0 }, done),
    );
    expect(await knock(as(former))).toEqual(everyDoor("AGENT_NOT_ACTIVE"));
  });

  test("twice with one token, however many try at once", async () => {
    const payload = await server.token();
    const keys = await Promise.all(Array.from({ length: 8 }, () => newKey()));
    const thieves = keys.map(({ csr }) => attest(as().agent, { payload, csr }));
    const outcomes = await Promise.allSettled(thieves);
    const losers = outcomes.flatMap((outcome) =>
      outcome.status === "rejected" ? [outcome.reason] : [],
    );
    expect(losers).toHaveLength(7);
    for (const reason of losers) expect(reason).toMatchObject(USED_TOKEN);
  });

  test.each([TRUST_DOMAIN, "other.org"])(
    "with an SVID of %s that another server issued, not even where anybody may ask",
    async (trustDomain) => {
      const other = await TestServer.prepare(stage, "ours");
      const text = readFileSync(other.configuration, "utf8");
      writeFileSync(
        other.configuration,
        text.replace(/trust_domain = ".*"/, `trust_domain = "${trustDomain}"`),
      );
      await other.start();
      const intruder = as(await joinByHand(other));
      expect(await knock(intruder)).toEqual(everyDoor("closed with 16"));
      const { csr } = await newKey();
      const payload = await server.token();
      expect(await refused(attest(intruder.agent, { payload, csr }))).toMatchObject({ code: 16 });
      const bundle = unary((done) => intruder.bundle.getBundle({ outputMask: undefined }, done));
      expect(await refused(bundle)).toMatchObject({ code: 16 });
      // What was refused for its certificate has not used up the token.
      expect(await attest(as().agent, { payload, csr })).toMatchObject({
        step: { $case: "result" },
      });
    },
    60_000,
  );
});
