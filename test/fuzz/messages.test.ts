/**
 * Requests of every method, damaged, to a running server and a running agent. Each call gets an answer that was thought of: nothing crashes,
 * nothing hangs, and no handler meets what it did not expect, which the log would tell.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import {
  Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import fc from "fast-check";
import { type ClientIdentity, newKey } from "#server/server.fixture.ts";
import { StatusCode } from "#spiffe/status-error.ts";
import { make } from "#x509/pki.fixture.ts";
import { identityOnDisk } from "../support/agent-identity.ts";
import { damagedBytes, FUZZ_TIMEOUT_MS, fuzzTogether } from "../support/fuzzing.ts";
import { Stage, TestAgent, TestServer } from "../support/spire.ts";
import {
  AGENT_ADMIN_METHODS,
  encodedSamples,
  type Method,
  SERVER_METHODS,
  WORKLOAD_METHODS,
} from "./request-samples.ts";

const stage = new Stage();
let server: TestServer;
let agent: TestAgent;
let adminSocket: string;
let agentIdentity: ClientIdentity;
let samples: ReadonlyMap<string, Uint8Array>;
const clients: Client[] = [];

beforeAll(async () => {
  server = await TestServer.start(stage, "ours", {
    settings: `ratelimit { attestation = false signing = false }
  audit_log_enabled = true
  experimental { feature_flags = ["wit-svid"] }`,
  });
  adminSocket = join(stage.room("admin"), "admin.sock");
  agent = await TestAgent.start(stage, "ours", server, {
    settings: `admin_socket_path = "${adminSocket}"
  authorized_delegates = ["spiffe://example.org/a"]`,
  });
  agentIdentity = identityOnDisk(agent);
  const entryId = await server.entry("spiffe://example.org/a", agent.id, ["unix:uid:0"]);
  const { csr } = await newKey("spiffe://example.org/a");
  const root = await make({ name: "root", isCa: true, uri: "spiffe://other.example" });
  const minted = await server.json(
    "jwt",
    "mint",
    "-spiffeID",
    "spiffe://example.org/a",
    "-audience",
    "b",
  );
  const jwt = (minted["svid"] as { token: string }).token;
  samples = encodedSamples({ csr, certificate: root.certificate.der, jwt, entryId });
}, 60_000);

afterAll(async () => {
  for (const client of clients) client.close();
  await stage.close();
}, 60_000);

const nameOf = ({ path }: Method): string => path.split("/").at(-1) ?? "";
const identity = (bytes: Buffer): Buffer => bytes;

/** Fields of any number and kind, one in another: what a decoder of any message makes something of. */
const { fields } = fc.letrec<{ fields: Uint8Array }>((tie) => ({
  fields: fc
    .array(
      fc.tuple(
        fc.nat(14),
        fc.oneof(
          { maxDepth: 4 },
          fc
            .bigInt({ min: 0n, max: 2n ** 64n - 1n })
            .map((value) => ({ wire: 0, bytes: varint(value) })),
          fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => ({ wire: 1, bytes })),
          fc
            .oneof(
              fc.string().map((text) => Buffer.from(text)),
              fc.uint8Array(),
              tie("fields"),
            )
            .map((bytes) => ({
              wire: 2,
              bytes: Buffer.concat([varint(BigInt(bytes.length)), bytes]),
            })),
          fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => ({ wire: 5, bytes })),
        ),
      ),
      { maxLength: 6 },
    )
    .map((list) =>
      Buffer.concat(
        list.flatMap(([number, { wire, bytes }]) => [
          varint(BigInt(number * 8 + wire)),
          Buffer.from(bytes),
        ]),
      ),
    ),
}));

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Buffer.from(bytes);
}

function requestsOf(method: Method): fc.Arbitrary<Buffer> {
  const sample = samples.get(nameOf(method)) ?? new Uint8Array();
  return fc
    .oneof(
      { weight: 3, arbitrary: damagedBytes([sample]) },
      { weight: 1, arbitrary: fields },
      fc.constant(sample),
    )
    .map((bytes) => Buffer.from(bytes));
}

/** Streams that wait for news end by this, milliseconds. */
const TIMEOUT_MS = 100;

interface Ending {
  readonly code: number;
  readonly details: string;
}

/** Makes one call, whatever its kind. */
function call(client: Client, method: Method, request: Buffer): Promise<Ending> {
  const { promise, resolve } = Promise.withResolvers<Ending>();
  const metadata = new Metadata();
  metadata.set("workload.spiffe.io", "true");
  const options = { deadline: Date.now() + (method.responseStream ? TIMEOUT_MS : 10_000) };
  const codes = [method.path, identity, identity] as const;
  const done = (error: ServiceError | null): void =>
    resolve({ code: error?.code ?? StatusCode.OK, details: error?.details ?? "" });
  if (!method.responseStream) {
    client.makeUnaryRequest(...codes, request, metadata, options, done);
    return promise;
  }
  const follow = (stream: ClientReadableStream<Buffer>): void => {
    stream.on("data", () => {});
    stream.on("error", (error) => done(error as ServiceError));
    stream.on("status", ({ code, details }) => resolve({ code, details }));
  };
  if (method.requestStream) {
    const stream = client.makeBidiStreamRequest(...codes, metadata, options);
    follow(stream);
    stream.write(request);
    stream.end();
  } else follow(client.makeServerStreamRequest(...codes, request, metadata, options));
  return promise;
}

/** Streams may wait for news; whatever else has no answer, or one without a meaning, was not thought of. */
function wasThoughtOf({ code, details }: Ending, method: Method): boolean {
  if (code === StatusCode.UNKNOWN || details === "internal error") return false;
  return method.responseStream || code !== StatusCode.DEADLINE_EXCEEDED;
}

/** Each prepared authority stays in the bundle, and nobody could tell what is wrong from a log that was switched off. */
const LEFT_OUT = /\/(Prepare\w+Authority|SetLogLevel)$/;

async function fuzzMethods(
  name: string,
  client: Client,
  methods: readonly Method[],
): Promise<void> {
  clients.push(client);
  const chosen = methods.filter(({ path }) => !LEFT_OUT.test(path));
  const request = fc
    .constantFrom(...chosen)
    .chain((method) => requestsOf(method).map((bytes) => ({ method, request: bytes })));
  await fuzzTogether(name, request, async (batch) => {
    const endings = await Promise.all(
      batch.map(async ({ method, request }) => ({
        path: method.path,
        request: request.toString("hex"),
        ...(await call(client, method, request)),
        method,
      })),
    );
    const odd = endings.filter((ending) => !wasThoughtOf(ending, ending.method));
    expect(odd).toEqual([]);
  });
}

const OF_A_BUG = /A call failed unexpectedly|TypeError|RangeError|undefined is not/;

describe("the server", () => {
  test(
    "from its own host",
    () =>
      fuzzMethods(
        "admin requests",
        new Client(`unix:${server.socket}`, credentials.createInsecure()),
        SERVER_METHODS,
      ),
    FUZZ_TIMEOUT_MS,
  );

  test(
    "from an agent, over the network",
    () => {
      const { privateKeyPem, certificateChainPem } = agentIdentity;
      const secure = credentials.createSsl(
        null,
        Buffer.from(privateKeyPem),
        Buffer.from(certificateChainPem),
        {
          rejectUnauthorized: false,
          checkServerIdentity: () => undefined,
        },
      );
      const client = new Client(`127.0.0.1:${server.port}`, secure, {
        "grpc.ssl_target_name_override": "localhost",
      });
      // A renewal that the agent knows nothing of would make it a stranger.
      const methods = SERVER_METHODS.filter(({ path }) => !path.endsWith("/RenewAgent"));
      return fuzzMethods("requests of an agent", client, methods);
    },
    FUZZ_TIMEOUT_MS,
  );

  test("goes on, and met nothing that it did not expect", async () => {
    expect((await server.cli("healthcheck")).code).toBe(0);
    expect(server.daemon.lines.filter((line) => OF_A_BUG.test(line))).toEqual([]);
  });
});

describe("the agent", () => {
  test(
    "from a workload",
    () =>
      fuzzMethods(
        "requests of a workload",
        new Client(`unix:${agent.socket}`, credentials.createInsecure()),
        WORKLOAD_METHODS,
      ),
    FUZZ_TIMEOUT_MS,
  );

  test(
    "from a delegate and an operator",
    () =>
      fuzzMethods(
        "requests to the agent's admin socket",
        new Client(`unix:${adminSocket}`, credentials.createInsecure()),
        AGENT_ADMIN_METHODS,
      ),
    FUZZ_TIMEOUT_MS,
  );

  test("a message that is nested deeper than any stack", async () => {
    const client = new Client(`unix:${agent.socket}`, credentials.createInsecure());
    clients.push(client);
    // google.protobuf.Value: a list (6) of values (1), again and again, in Envoy's metadata (3) of a node (2).
    const fieldsAround = [
      2,
      3,
      1,
      2,
      ...Array.from({ length: 400_000 }, (_, at) => [6, 1][at % 2]),
    ];
    const heads: Buffer[] = [];
    let length = 0;
    for (const number of fieldsAround.reverse()) {
      const head = Buffer.concat([varint(BigInt((number ?? 1) * 8 + 2)), varint(BigInt(length))]);
      heads.push(head);
      length += head.length;
    }
    const request = Buffer.concat(heads.reverse());
    for (const method of WORKLOAD_METHODS.filter(({ path }) => path.endsWith("Secrets"))) {
      await call(client, method, request);
    }
  });

  test("goes on, and met nothing that it did not expect", async () => {
    expect((await agent.cli(["healthcheck"])).code).toBe(0);
    expect(agent.daemon.lines.filter((line) => OF_A_BUG.test(line))).toEqual([]);
  });
});
