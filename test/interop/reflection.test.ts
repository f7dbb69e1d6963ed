/**
 * Reflection on the agent's public socket, asked by grpc-go's own client: the same questions to our agent and to the reference's, by a
 * process that no entry knows.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { run } from "../support/process.ts";
import { GO_CLIENT, type Implementation, Stage, TestAgent, TestServer } from "../support/spire.ts";

const NOBODY = 65_534;
const SERVICES = [
  "SpiffeWorkloadAPI",
  "envoy.service.secret.v3.SecretDiscoveryService",
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
];
const SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret";

type Declared = Readonly<Record<string, Readonly<Record<string, string>>>>;

describe("reflection on the public socket", () => {
  const stage = new Stage();
  let agents: Readonly<Record<Implementation, TestAgent>>;

  beforeAll(async () => {
    const server = await TestServer.start(stage, "ours");
    agents = {
      ours: await TestAgent.start(stage, "ours", server),
      reference: await TestAgent.start(stage, "reference", server),
    };
  }, 120_000);

  afterAll(() => stage.close(), 60_000);

  async function ask(agent: TestAgent, version: string, ...requests: object[]): Promise<unknown[]> {
    const input = requests.map((request) => JSON.stringify(request)).join("\n");
    const asked = await run([GO_CLIENT, "reflect", agent.socket, version], { input, uid: NOBODY });
    if (asked.code !== 0) throw new Error(asked.stderr);
    return asked.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  }

  async function declaredBy(agent: TestAgent, symbol: string): Promise<Declared> {
    const [answer] = await ask(agent, "v1", { fileContainingSymbol: symbol });
    return (answer as { readonly declared: Declared }).declared;
  }

  test.each(["v1", "v1alpha"])(
    "%s lists the same services, and one of our own",
    async (version) => {
      const request = { host: "any", listServices: "" };
      const listed = (services: readonly string[]): object => {
        const service = services.map((name) => ({ name }));
        return { validHost: "any", listServicesResponse: { service } };
      };
      expect(await ask(agents.reference, version, request)).toEqual([listed(SERVICES)]);
      const ours = [...SERVICES, "spire_edge.explain.v1.Explain"];
      expect(await ask(agents.ours, version, request)).toEqual([listed(ours)]);
    },
  );

  test.each(SERVICES)("%s has the same methods, on the same messages", async (service) => {
    const ours = await declaredBy(agents.ours, service);
    const reference = await declaredBy(agents.reference, service);
    expect(ours[service]).toEqual(reference[service] as Declared[string]);
    for (const [message, fields] of Object.entries(ours)) {
      // Envoy's messages have more fields than an agent needs; those that we know must be theirs.
      expect({ message, fields: reference[message] }).toMatchObject({ message, fields });
    }
  });

  test.each([
    ["a method", "SpiffeWorkloadAPI.FetchX509SVID"],
    ["a message", "X509SVIDResponse"],
    ["a field", "X509SVID.spiffe_id"],
    ["a nested enum", "grpc.health.v1.HealthCheckResponse.ServingStatus"],
    ["the value of an enum", "grpc.health.v1.HealthCheckResponse.SERVING"],
    ["what a secret is packed as", SECRET],
    ["a field of a oneof", `${SECRET}.tls_certificate`],
  ])("%s is found by its name", async (_what, symbol) => {
    const request = { fileContainingSymbol: symbol };
    for (const agent of Object.values(agents)) {
      const [answer] = await ask(agent, "v1", request);
      expect(answer).toHaveProperty("declared");
    }
  });

  test("what is not there, and what nothing extends", async () => {
    const requests = [
      { fileContainingSymbol: "grpc.health.v1.Nothing" },
      { fileContainingSymbol: "grpc.health.v1" },
      { fileByFilename: "nothing.proto" },
      { fileContainingExtension: { containingType: "X509SVID", extensionNumber: 7 } },
      { allExtensionNumbersOfType: "grpc.health.v1.Nothing" },
      { allExtensionNumbersOfType: "X509SVID" },
    ];
    const ours = await ask(agents.ours, "v1", ...requests);
    expect(ours.map((answer) => Object.keys(answer as object)[0])).toEqual([
      ...Array(5).fill("errorResponse"),
      "allExtensionNumbersResponse",
    ]);
    // The reference's library writes a no-break space now and then.
    const reference = await ask(agents.reference, "v1", ...requests);
    expect(ours).toEqual(JSON.parse(JSON.stringify(reference).replaceAll("\u00a0", " ")));
  });

  test("a file is followed by its imports, each but once on a stream", async () => {
    const request = { fileContainingSymbol: "envoy.service.secret.v3.SecretDiscoveryService" };
    const file = { fileByFilename: "envoy/service/discovery/v3/discovery.proto" };
    const [first, second, third] = await ask(agents.ours, "v1", request, request, file);
    expect(first).toMatchObject({
      files: [
        "envoy/service/secret/v3/sds.proto",
        "envoy/config/core/v3/core.proto",
        "envoy/service/discovery/v3/discovery.proto",
        "envoy/type/v3/semantic_version.proto",
        "google/protobuf/any.proto",
        "google/protobuf/struct.proto",
        "google/rpc/status.proto",
      ],
    });
    expect(second).toMatchObject({ files: ["envoy/service/secret/v3/sds.proto"] });
    expect(third).toMatchObject({ files: ["envoy/service/discovery/v3/discovery.proto"] });
  });

  test("a client that knows nothing calls a method by what it was told", async () => {
    const words = ["grpc.health.v1.Health", "Check"];
    for (const agent of Object.values(agents)) {
      const called = await run([GO_CLIENT, "invoke", agent.socket, ...words], { uid: NOBODY });
      expect(JSON.parse(called.stdout)).toEqual({ status: "SERVING" });
    }
  });

  test("a request that asks nothing ends the stream", async () => {
    for (const agent of Object.values(agents)) {
      const asked = ask(agent, "v1", { host: "any" });
      await expect(asked).rejects.toThrow("InvalidArgument desc = invalid MessageRequest");
    }
  });
});
