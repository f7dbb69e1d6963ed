/**
 * Rotation of everything, in three pairings at the same time: CAs and JWT keys change, by themselves or by an operator's hand, SVIDs
 * live for seconds, and two workloads that connect ten times a second never notice.
 *
 * SPIRE_EDGE_ROTATIONS (30) and SPIRE_EDGE_SVID_ROTATIONS (100) say how many there are, for each pairing.
 */
import { afterAll, expect, test } from "bun:test";
import { connect } from "node:tls";
import { Certificate } from "#x509/certificate.ts";
import { eventually } from "../support/process.ts";
import { Stage, TestAgent, TestServer } from "../support/spire.ts";
import { EnduringPair } from "./enduring-pair.ts";

const ROTATIONS = Number(process.env["SPIRE_EDGE_ROTATIONS"] ?? 30);
const SVID_ROTATIONS = Number(process.env["SPIRE_EDGE_SVID_ROTATIONS"] ?? 100);
const CA_TTL_SECONDS = 16;
const SVID_TTL_SECONDS = 4;
const TTL_SECONDS = { x509: SVID_TTL_SECONDS, jwt: SVID_TTL_SECONDS };
const LIMIT_MS = 270_000;
const QUICK_SYNC = `experimental { sync_interval = "1s" }`;

const stage = new Stage();
afterAll(() => stage.close(), 60_000);

const authorityId = async (
  server: TestServer,
  kind: "x509" | "jwt",
  verb: string,
  ...words: string[]
): Promise<string> => {
  const answer = await server.cli("localauthority", kind, verb, ...words);
  const id = /Authority ID: (\S+)/.exec(answer.stdout)?.[1];
  if (answer.code !== 0 || id === undefined) throw new Error(answer.stderr + answer.stdout);
  return id;
};

/**
 * Has the prepared authority sign. Where authorities also change by themselves it may be signing already: the server then answers that
 * it is not the prepared one.
 */
async function activate(server: TestServer, kind: "x509" | "jwt", id: string): Promise<void> {
  try {
    await authorityId(server, kind, "activate", "-authorityID", id);
  } catch (error) {
    const shown = await server.json("localauthority", kind, "show");
    if (JSON.stringify(shown["active"]).includes(id)) return;
    throw error;
  }
}

/** A change of authority by an operator's hand, each step as soon as the one before has reached everybody. */
async function forceRotation(server: TestServer, pair: EnduringPair): Promise<void> {
  const x509 = await authorityId(server, "x509", "prepare");
  const jwt = await authorityId(server, "jwt", "prepare");
  await pair.until(
    "the prepared authorities are in both bundles",
    ({ bundle, jwtBundle }) => bundle.includes(x509) && jwtBundle.includes(jwt),
  );
  await activate(server, "x509", x509);
  await activate(server, "jwt", jwt);
  await pair.until("both SVIDs are signed by the new authority", ({ issuer }) => issuer === x509);
}

/** The subject key ID of the authority that signed what the server shows. */
async function signerOf(server: TestServer): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const options = { host: "127.0.0.1", port: server.port, ALPNProtocols: ["h2"] };
  const socket = connect({ ...options, rejectUnauthorized: false }, () =>
    resolve(socket.getPeerCertificate().raw),
  );
  socket.on("error", reject);
  const { authorityKeyId = new Uint8Array() } = Certificate.parse(await promise).extensions;
  socket.destroy();
  return Buffer.from(authorityKeyId).toString("hex");
}

/** Takes the authority that signed before out of the world, as after a theft of its key. */
async function revokeOld(
  server: TestServer,
  agent: TestAgent,
  pair: EnduringPair,
  old: string,
): Promise<void> {
  const serial = async (): Promise<unknown> => {
    const shown = await server.json("agent", "show", "-spiffeID", agent.id);
    return shown["x509svid_serial_number"];
  };
  const before = await serial();
  await authorityId(server, "x509", "taint", "-authorityID", old);
  // Revoked too early, server and agent would lose each other: each shows the other what the old authority signed.
  await eventually("the agent has replaced its own SVID", async () => {
    return (await serial()) === before ? undefined : true;
  });
  await eventually("the server has replaced its own SVID", async () => {
    return (await signerOf(server)) === old ? undefined : true;
  });
  await authorityId(server, "x509", "revoke", "-authorityID", old);
  await pair.until(
    "the old authority has left both bundles",
    ({ bundle }) => !bundle.includes(old),
  );
}

/** Waits for what is still missing of the SVIDs, ends both workloads, and looks into their ledgers. */
async function expectNothingNoticed(name: string, pair: EnduringPair): Promise<void> {
  await pair.until(
    `${SVID_ROTATIONS} SVIDs`,
    ({ svids, failures }) => svids > SVID_ROTATIONS || failures > 0,
    LIMIT_MS,
  );
  const ledgers = await pair.stop();
  for (const [who, ledger] of Object.entries(ledgers)) {
    const { handshakes, jwts, svids, issuers, jwtKeys, longestGapMs } = ledger;
    console.log(name, who, { handshakes, jwts, svids, issuers, jwtKeys, longestGapMs });
    expect(ledger.kept).toEqual([]);
    expect(ledger).toMatchObject({ failures: 0, expired: 0 });
    expect(ledger.issuers).toBeGreaterThan(ROTATIONS);
  }
}

test.concurrent(
  "ours with ours: rotations that come by themselves, then rotations by hand",
  async () => {
    const server = await TestServer.start(stage, "ours", {
      settings: `ca_ttl = "${CA_TTL_SECONDS}s"\n  default_x509_svid_ttl = "${SVID_TTL_SECONDS}s"`,
    });
    const agent = await TestAgent.start(stage, "ours", server, { settings: QUICK_SYNC });
    const pair = await EnduringPair.start(stage, server, agent, TTL_SECONDS);
    await pair.until(
      "half of the rotations",
      ({ issuers, failures }) => issuers > ROTATIONS / 2 || failures > 0,
      LIMIT_MS,
    );
    while (pair.ledgers.caller.issuers <= ROTATIONS) await forceRotation(server, pair);
    await expectNothingNoticed("ours with ours", pair);
  },
  LIMIT_MS,
);

test.concurrent.each([
  { server: "reference", agent: "ours", revocations: 5 },
  { server: "ours", agent: "reference", revocations: 5 },
] as const)(
  "server $server, agent $agent: rotations by hand, the first with the old authority tainted and revoked",
  async (of) => {
    const server = await TestServer.start(stage, of.server, {
      settings: `default_x509_svid_ttl = "10m"`,
    });
    const agent = await TestAgent.start(stage, of.agent, server, { settings: QUICK_SYNC });
    const pair = await EnduringPair.start(stage, server, agent, TTL_SECONDS);
    for (let n = 1; n <= ROTATIONS; n++) {
      const old = pair.ledgers.caller.issuer;
      await forceRotation(server, pair);
      if (n <= of.revocations) await revokeOld(server, agent, pair, old);
    }
    await expectNothingNoticed(`${of.server} with ${of.agent}`, pair);
  },
  LIMIT_MS,
);
