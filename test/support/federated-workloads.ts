/** Two trust domains, an agent and a workload in each: what federation is for, whoever made the executables. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { credentials } from "@grpc/grpc-js";
import { callUnary } from "#grpc/client.ts";
import { BundleClient } from "#grpc/gen/spire/api/server/bundle/v1/bundle.ts";
import { make } from "#x509/pki.fixture.ts";
import { bundleOf, federatedPair, REFRESH_HINT } from "./federation.ts";
import { Daemon, eventually, freePort, run } from "./process.ts";
import { GO_CLIENT, type Implementation, Stage, TestAgent, type TestServer } from "./spire.ts";

const UID = 1;
const idIn = (server: TestServer): string => `spiffe://${server.trustDomain}/workload`;

async function go(...words: string[]): Promise<Record<string, unknown>> {
  const answer = await run([GO_CLIENT, ...words], { uid: UID });
  if (answer.code !== 0) throw new Error(answer.stderr);
  return JSON.parse(answer.stdout) as Record<string, unknown>;
}

/** Registers the tests. @param implementations of the two servers, each with an agent of its own kind */
export function federatedWorkloadTests(
  implementations: readonly [Implementation, Implementation],
): void {
  const stage = new Stage();
  let servers: readonly [TestServer, TestServer];
  let agents: readonly [TestAgent, TestAgent];

  beforeAll(async () => {
    servers = await federatedPair(stage, implementations);
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
      const [server, client] = [servers[serving], servers[calling]];
      const address = `127.0.0.1:${await freePort()}`;
      const listening = new Daemon(
        [GO_CLIENT, "serve", agents[serving].socket, address, idIn(client)],
        `${agents[serving].directory}/serve.log`,
        { uid: UID },
      );
      try {
        await listening.line((line) => line.includes("listening"));
        const answer = await go("call", agents[calling].socket, address, idIn(server));
        expect(answer["answer"]).toBe(`hello ${idIn(client)}`);
      } finally {
        await listening.stop();
      }
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

  test("an authority that the other trust domain adds reaches the workloads", async () => {
    const [one, two] = servers;
    const added = await make({ name: "next CA", isCa: true, uri: "spiffe://two.test" });
    const client = new BundleClient(`unix:${two.socket}`, credentials.createInsecure());
    const asn1 = added.certificate.der;
    await callUnary(client, "appendBundle", {
      x509Authorities: [{ asn1, tainted: false }],
      jwtAuthorities: [],
      witAuthorities: [],
      outputMask: undefined,
    });
    client.close();
    expect((await one.cli("federation", "refresh", "-id", "two.test")).code).toBe(0);
    expect(await bundleOf(one, "two.test")).toEqual({ hint: REFRESH_HINT, x509: 2, jwt: 1 });
    await eventually("the workload has the new authority", async () => {
      const bundle = await go("bundles", agents[0].socket, "two.test");
      return bundle["x509Authorities"] === 2 ? true : undefined;
    });
  }, 60_000);
}
