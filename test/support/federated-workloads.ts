/** Two trust domains, an agent and a workload in each: what federation is for, whoever made the executables. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:tls";
import { Certificate } from "#x509/certificate.ts";
import { splitCertificates } from "#x509/der.ts";
import { order } from "./authorities.ts";
import { bundleOf, federatedPair, type Offer, REFRESH_HINT } from "./federation.ts";
import { goClient } from "./go-client.ts";
import { Daemon, eventually, freePort } from "./process.ts";
import { GO_CLIENT, type Implementation, Stage, TestAgent, type TestServer } from "./spire.ts";

const UID = 1;
const idIn = (server: TestServer): string => `spiffe://${server.trustDomain}/workload`;

const go = (...words: string[]): Promise<Record<string, unknown>> => goClient(UID, ...words);

/** The subject key ID of what signed the certificate that an endpoint shows. */
function issuerShown(port: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
  socket.once("error", reject);
  socket.once("secureConnect", () => {
    const { authorityKeyId } = Certificate.parse(socket.getPeerCertificate().raw).extensions;
    resolve(Buffer.from(authorityKeyId ?? new Uint8Array()).toString("hex"));
    socket.destroy();
  });
  return promise;
}

/** The subject key ID of what signed the workload's X509-SVID. */
async function issuerOfWorkload(agent: TestAgent): Promise<string> {
  const fetched = await agent.cli(["api", "fetch", "x509", "-output", "json"], { uid: UID });
  const { svids } = JSON.parse(fetched.stdout) as { svids: readonly { x509_svid: string }[] };
  const [leaf] = splitCertificates(Buffer.from(svids[0]?.x509_svid ?? "", "base64"));
  const { authorityKeyId } = Certificate.parse(leaf ?? new Uint8Array()).extensions;
  return Buffer.from(authorityKeyId ?? new Uint8Array()).toString("hex");
}

/** Registers the tests. @param implementations of the two servers, each with an agent of its own kind */
export function federatedWorkloadTests(
  implementations: readonly [Implementation, Implementation],
): void {
  const stage = new Stage();
  let servers: readonly [TestServer, TestServer];
  let endpoints: readonly [Offer, Offer];
  let agents: readonly [TestAgent, TestAgent];

  /** One workload serves and the other calls it, by mTLS; what the caller hears. */
  async function greeting(serving: 0 | 1, calling: 0 | 1): Promise<unknown> {
    const address = `127.0.0.1:${await freePort()}`;
    const clientId = idIn(servers[calling]);
    const listening = new Daemon(
      [GO_CLIENT, "serve", agents[serving].socket, address, clientId],
      `${agents[serving].directory}/serve.log`,
      { uid: UID },
    );
    try {
      await listening.line((line) => line.includes("listening"));
      return (await go("call", agents[calling].socket, address, idIn(servers[serving])))["answer"];
    } finally {
      await listening.stop();
    }
  }

  beforeAll(async () => {
    ({ servers, endpoints } = await federatedPair(stage, implementations));
    const [one, two] = servers;
    for (const [server, other] of [
      [one, two],
      [two, one],
    ] as const) {
      const refreshed = await server.cli("federation", "refresh", "-id", other.trustDomain);
      expect(refreshed).toMatchObject({ stdout: "Bundle refreshed\n", stderr: "", code: 0 });
    }
    agents = await Promise.all([
      TestAgent.start(stage, implementations[0], one),
      TestAgent.start(stage, implementations[1], two),
    ]);
    const [first, second] = agents;
    const selectors = [`unix:uid:${UID}`];
    await one.entry(idIn(one), first.id, selectors, "-federatesWith", two.trustDomain);
    await two.entry(idIn(two), second.id, selectors, "-federatesWith", one.trustDomain);
    for (const agent of agents) {
      await eventually("the workload has an identity", () => go("x509", agent.socket));
    }
  }, 120_000);

  afterAll(() => stage.close(), 60_000);

  test("each server has the bundle that the other's endpoint serves", async () => {
    const [one, two] = servers;
    expect(await bundleOf(one, "two.test")).toEqual({ hint: REFRESH_HINT, x509: 1, jwt: 1 });
    expect(await bundleOf(two, "one.test")).toEqual({ hint: REFRESH_HINT, x509: 1, jwt: 1 });
  });

  test.each([
    [0, 1],
    [1, 0],
  ] as const)(
    "workload %i serves, workload %i calls: each verifies the other's X509-SVID",
    async (serving, calling) => {
      expect(await greeting(serving, calling)).toBe(`hello ${idIn(servers[calling])}`);
    },
    60_000,
  );

  test.each([
    [0, 1],
    [1, 0],
  ] as const)(
    "a JWT-SVID of workload %i is valid at the agent of workload %i",
    async (from, at) => {
      const { token } = await go("jwt", agents[from].socket, "audience");
      const checked = await agents[at].cli(
        ["api", "validate", "jwt", "-audience", "audience", "-svid", String(token)],
        { uid: UID },
      );
      expect(checked.stdout).toContain(`SPIFFE ID : ${idIn(servers[from])}`);
    },
  );

  test("a trust domain rotates its authorities: the other follows, and goes on believing its endpoint and its workloads", async () => {
    const [one, two] = servers;
    const authorities = async (): Promise<number | undefined> => {
      expect(await one.cli("federation", "refresh", "-id", "two.test")).toMatchObject({ code: 0 });
      return (await bundleOf(one, "two.test"))?.x509;
    };
    const first = await order(two, "show");
    const second = await order(two, "prepare");
    // Known everywhere before anything is signed with it (SPIFFE Federation §4.1).
    expect(await authorities()).toBe(2);
    await eventually("the workload knows both authorities", async () => {
      const bundle = await go("bundles", agents[0].socket, "two.test");
      return bundle["x509Authorities"] === 2 ? true : undefined;
    });
    await order(two, "activate", "-authorityID", second);
    await order(two, "taint", "-authorityID", first);
    await eventually("the endpoint shows an SVID of the new authority", async () =>
      (await issuerShown(endpoints[1].port)) === second ? true : undefined,
    );
    // The reference's agent replaces what a tainted authority signed; of one that is revoked sooner than it asks it never hears.
    await eventually("the workload has an SVID of the new authority", async () =>
      (await issuerOfWorkload(agents[1])) === second ? true : undefined,
    );
    await order(two, "revoke", "-authorityID", first);
    expect(await authorities()).toBe(1);
    await eventually("the workloads speak by the new authority alone", () => greeting(1, 0));
  }, 90_000);
}
