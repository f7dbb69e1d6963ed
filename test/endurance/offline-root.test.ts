/**
 * CAs that are signed by hand change under load: by themselves, below a new root, by an operator's hand, with the old root tainted and revoked;
 * two workloads that connect ten times a second never notice.
 */
import { afterAll, expect, test } from "bun:test";
import { Ceremony, opensslTime, pluginBlock } from "../support/ceremony.ts";
import { CA_EXTENSIONS, URI } from "../support/offline-server.ts";
import { eventually } from "../support/process.ts";
import { Stage, TestAgent, TestServer } from "../support/spire.ts";
import { EnduringPair } from "./enduring-pair.ts";

/** Of the first CA. Its successor is asked for at half of it, and takes over at five sixths. */
const LIFE_SECONDS = 48;
const SVID_TTL_SECONDS = 4;

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

interface Shown {
  readonly active: {
    readonly authority_id: string;
    readonly upstream_authority_id: string;
    readonly subject: string;
  };
  readonly pending?: { readonly authority_id: string };
}

const shown = async (server: TestServer): Promise<Shown> =>
  (await server.json("ca", "show")) as unknown as Shown;

async function succeed(server: TestServer, ...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await server.cli(...words);
  if (code !== 0) throw new Error(stdout + stderr);
  return stdout;
}

async function signsNow(server: TestServer, pair: EnduringPair, id: string): Promise<void> {
  await pair.until("both SVIDs are signed by the new CA", ({ issuer }) => issuer === id, 60_000);
  expect((await shown(server)).active.authority_id).toBe(id);
}

interface Scene {
  readonly server: TestServer;
  readonly agent: TestAgent;
  readonly pair: EnduringPair;
  /** When the first CA ends; milliseconds since the epoch. */
  readonly firstEnd: number;
}

/** Takes the root that is above nothing any more out of the world. */
async function revokeRoot({ server, agent, pair, firstEnd }: Scene, rootId: string): Promise<void> {
  await succeed(server, "upstreamauthority", "taint", "-subjectKeyID", rootId);
  // Revoked too early, server and agent would lose each other: each shows the other what is below the old root.
  await eventually("the server shows an SVID below the new root", async () => {
    const { active } = await shown(server);
    const info = await server.json("debug", "getinfo");
    return JSON.stringify(info["svid_chain"]).includes(active.subject) || undefined;
  });
  await eventually("so does the agent", async () => {
    const node = await server.json("agent", "show", "-spiffeID", agent.id);
    // What the first CA signed ends with it.
    return Number(node["x509svid_expires_at"]) * 1000 > firstEnd || undefined;
  });
  await succeed(server, "upstreamauthority", "revoke", "-subjectKeyID", rootId);
  await pair.until("the old root has left both bundles", ({ bundle }) => !bundle.includes(rootId));
}

test("no handshake is lost to a change of CA or root", async () => {
  const [first, second] = [new Ceremony(stage.room("first")), new Ceremony(stage.room("second"))];
  await Promise.all([first.makeRoot(), second.makeRoot()]);
  const server = await TestServer.prepare(stage, "ours", {
    plugins: pluginBlock(),
    settings: `default_x509_svid_ttl = "10m"`,
  });
  first.server = server;
  second.server = server;
  await server.start("Server is waiting for CA");
  await first.carryRequest();
  const firstEnd = Math.floor(Date.now() / 1000 + LIFE_SECONDS) * 1000;
  await first.signWith([...CA_EXTENSIONS, URI], { until: opensslTime(firstEnd) });
  await first.importSigned();
  const oldRoot = (await shown(server)).active.upstream_authority_id;
  const agent = await TestAgent.start(stage, "ours", server);
  const ttl = { x509: SVID_TTL_SECONDS, jwt: 60 };
  const pair = await EnduringPair.start(stage, server, agent, ttl);

  await eventually("the next CA is asked for", async () => (await shown(server)).pending);
  await second.sign();
  expect(await second.importSigned()).toContain("It takes over at ");
  const next = await eventually("the second CA signs", async () => {
    const { active } = await shown(server);
    return active.upstream_authority_id === oldRoot ? undefined : active.authority_id;
  });
  await signsNow(server, pair, next);
  await revokeRoot({ server, agent, pair, firstEnd }, oldRoot);

  await server.cli("localauthority", "x509", "prepare");
  await second.sign();
  await second.importSigned();
  const id = /Authority ID: (\S+)/.exec(
    (await succeed(server, "ca", "show")).split("Prepared")[1] ?? "",
  )?.[1];
  await succeed(server, "localauthority", "x509", "activate", "-authorityID", id ?? "");
  await signsNow(server, pair, id ?? "");

  const ledgers = await pair.stop();
  for (const ledger of Object.values(ledgers)) {
    expect(ledger.kept).toEqual([]);
    expect(ledger).toMatchObject({ failures: 0, expired: 0 });
    expect(ledger.issuers).toBeGreaterThan(2);
  }
}, 180_000);
