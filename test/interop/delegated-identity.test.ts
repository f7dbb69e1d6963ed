/**
 * The Delegated Identity API of either agent's admin socket, called by this process: whom it refuses, in which words, and what it hands
 * to a delegate. The tests of one agent build on each other: the caller is nobody, then somebody, then a delegate, then none any more.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { statSync } from "node:fs";
import { join } from "node:path";
import { callUnary, readStream, unixChannel } from "#grpc/client.ts";
import { parseJwtSvidUnverified } from "#jwt/claims.ts";
import {
  DelegatedIdentityClient,
  type SubscribeToX509SVIDsResponse,
} from "#proto/spire/api/agent/delegatedidentity/v1/delegatedidentity.ts";
import { StatusError } from "#spiffe/status-error.ts";
import { eventually } from "../support/process.ts";
import {
  type Implementation,
  Stage,
  TestAgent,
  TestServer,
  TRUST_DOMAIN,
} from "../support/spire.ts";

const OWN_UID = process.getuid?.() ?? 0;
const WORKLOAD_UID = 2;
const FEDERATED = "federated.test";
const NOT_A_DELEGATE = "7: caller not configured as an authorized delegate";
const both: readonly Implementation[] = ["ours", "reference"];
const idOf = (path: string): string => `spiffe://${TRUST_DOMAIN}${path}`;
const selectors = [{ type: "unix", value: "user:workload" }];
const bySelectors = { selectors, pid: 0 };
const audience = ["test"];

interface Calls {
  x509Svids(request: typeof bySelectors): AsyncGenerator<SubscribeToX509SVIDsResponse>;
  x509Bundles(): AsyncGenerator<{ readonly caCertificates: Record<string, Uint8Array> }>;
  jwtBundles(): AsyncGenerator<{ readonly bundles: Record<string, Uint8Array> }>;
  readonly client: DelegatedIdentityClient;
}

function callsOf(socket: string): Calls {
  const { address, credentials, options } = unixChannel(socket);
  const client = new DelegatedIdentityClient(address, credentials, options);
  return {
    client,
    x509Svids: (request) => readStream(client.subscribeToX509SviDs(request)),
    x509Bundles: () => readStream(client.subscribeToX509Bundles({})),
    jwtBundles: () => readStream(client.subscribeToJwtBundles({})),
  };
}

/** The first message, after which the stream is left. */
async function first<R>(stream: AsyncGenerator<R>): Promise<R> {
  for await (const message of stream) return message;
  throw new Error("the stream ended without a message");
}

/** `CODE: message` of what a call throws. */
async function refusal(call: Promise<unknown>): Promise<string> {
  try {
    return `no refusal: ${JSON.stringify(await call)}`;
  } catch (error) {
    return error instanceof StatusError ? `${error.code}: ${error.message}` : String(error);
  }
}

const paths = ({ x509Svids }: SubscribeToX509SVIDsResponse): (string | undefined)[] =>
  x509Svids.map(({ x509Svid }) => x509Svid?.id?.path);

/** A process of the workload's user, for as long as the test wants. */
function startWorkload(): { readonly pid: number; end(): Promise<void> } {
  const child = spawn("sleep", ["600"], { uid: WORKLOAD_UID, gid: WORKLOAD_UID, stdio: "ignore" });
  const ended = Promise.withResolvers<void>();
  child.on("exit", () => ended.resolve());
  const end = (): Promise<void> => {
    child.kill("SIGKILL");
    return ended.promise;
  };
  return { pid: child.pid ?? 0, end };
}

describe.each(both)("the %s agent", (implementation) => {
  const stage = new Stage();
  let server: TestServer;
  let agent: TestAgent;
  let calls: Calls;
  let delegateEntry: string;
  let adminSocket: string;

  const fetchJwt = (request: Partial<typeof bySelectors>, to: readonly string[] = audience) =>
    callUnary(calls.client, "fetchJwtsviDs", {
      ...{ selectors: [], pid: 0, ...request },
      audience: [...to],
    });
  const allRefusals = async (): Promise<string[]> => [
    await refusal(first(calls.x509Svids(bySelectors))),
    await refusal(first(calls.x509Bundles())),
    await refusal(first(calls.jwtBundles())),
    await refusal(fetchJwt(bySelectors)),
  ];

  beforeAll(async () => {
    server = await TestServer.start(stage, "ours");
    const made = join(stage.room("admin"), "made", "too");
    adminSocket = join(made, "admin.sock");
    agent = await TestAgent.start(stage, implementation, server, {
      settings: `admin_socket_path = "${adminSocket}"
  authorized_delegates = ["${idOf("/delegate")}"]
  experimental { sync_interval = "1s" }`,
    });
    calls = callsOf(adminSocket);
    const bundle = await server.bundleFile();
    await server.cli("bundle", "set", "-id", `spiffe://${FEDERATED}`, "-path", bundle);
  }, 60_000);

  afterAll(() => stage.close(), 60_000);

  test("only owner and group reach the socket", () => {
    const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);
    expect([mode(adminSocket), mode(join(adminSocket, ".."))]).toEqual(["770", "750"]);
  });

  test("the public socket does not have the API", async () => {
    const elsewhere = callsOf(agent.socket);
    expect(await refusal(first(elsewhere.x509Bundles()))).toStartWith("12: ");
  });

  test("a caller without an identity is refused", async () => {
    expect(await allRefusals()).toEqual(Array(4).fill("7: no identity issued"));
    expect(await refusal(fetchJwt(bySelectors, []))).toBe("3: audience must be specified");
  });

  test("a caller with an identity that is no delegate's is refused", async () => {
    await server.entry(idOf("/somebody"), agent.id, [`unix:uid:${OWN_UID}`]);
    await eventually("the agent knows the caller", async () =>
      (await refusal(first(calls.x509Bundles()))) === NOT_A_DELEGATE ? true : undefined,
    );
    expect(await allRefusals()).toEqual(Array(4).fill(NOT_A_DELEGATE));
    // Who asks counts before what is asked for.
    const nothing = { selectors: [], pid: 0 };
    expect(await refusal(first(calls.x509Svids(nothing)))).toBe(NOT_A_DELEGATE);
  });

  test("a delegate that asks for nothing, for two things or for nonsense is refused", async () => {
    delegateEntry = await server.entry(idOf("/delegate"), agent.id, [`unix:uid:${OWN_UID}`]);
    await eventually("the agent knows the delegate", () => first(calls.x509Bundles()));
    const dead = startWorkload();
    await dead.end();
    const wrong = "3: must provide either selectors or non-zero PID, but not both";
    const requests: readonly (readonly [typeof bySelectors, string])[] = [
      [{ selectors: [], pid: 0 }, wrong],
      [{ selectors, pid: process.pid }, wrong],
      [
        { selectors: [{ type: "a:b", value: "c" }], pid: 0 },
        "3: could not parse provided selectors",
      ],
      [
        { selectors: [{ type: "unix", value: "" }], pid: 0 },
        "3: could not parse provided selectors",
      ],
      [{ selectors: [], pid: dead.pid }, "14: workload attestation failed"],
      [{ selectors: [], pid: -1 }, "14: workload attestation failed"],
    ];
    for (const [request, expected] of requests) {
      const said = [
        await refusal(first(calls.x509Svids(request))),
        await refusal(fetchJwt(request)),
      ];
      expect({ request, said }).toEqual({ request, said: [expected, expected] });
    }
  });

  test("a workload without entries has no X509-SVIDs and no JWT-SVID", async () => {
    expect(await first(calls.x509Svids(bySelectors))).toEqual({ x509Svids: [], federatesWith: [] });
    expect(await refusal(fetchJwt(bySelectors))).toBe("7: no identity issued");
  });

  test("SVIDs by selectors: all but those of administrators and downstream servers", async () => {
    const want = ["unix:user:workload"];
    await server.entry(idOf("/admin"), agent.id, want, "-admin");
    await server.entry(idOf("/downstream"), agent.id, want, "-downstream");
    await server.entry(
      ...([idOf("/workload"), agent.id, want] as const),
      ...["-hint", "main", "-federatesWith", `spiffe://${FEDERATED}`],
    );
    const { x509Svids, federatesWith } = await eventually("the workload is served", async () => {
      const message = await first(calls.x509Svids(bySelectors));
      return message.federatesWith.length > 0 ? message : undefined;
    });
    expect(federatesWith).toEqual([`spiffe://${FEDERATED}`]);
    expect(x509Svids).toHaveLength(1);
    const [{ x509Svid, x509SvidKey } = { x509Svid: undefined, x509SvidKey: Buffer.alloc(0) }] =
      x509Svids;
    const leaf = new X509Certificate(x509Svid?.certChain[0] ?? Buffer.alloc(0));
    expect(leaf.subjectAltName).toBe(`URI:${idOf("/workload")}`);
    const der = Buffer.from(x509SvidKey);
    expect(leaf.checkPrivateKey(createPrivateKey({ key: der, format: "der", type: "pkcs8" }))).toBe(
      true,
    );
    expect({ ...x509Svid, certChain: x509Svid?.certChain.length }).toEqual({
      id: { trustDomain: TRUST_DOMAIN, path: "/workload" },
      hint: "main",
      expiresAt: leaf.validToDate.getTime() / 1000,
      certChain: 1,
    });
    const { svids } = await fetchJwt(bySelectors);
    expect(svids).toHaveLength(1);
    const [{ token, ...svid } = { token: "" }] = svids;
    const { claims } = parseJwtSvidUnverified(token);
    expect(claims["aud"]).toEqual(audience);
    expect(claims["sub"]).toBe(idOf("/workload"));
    expect(svid as unknown).toEqual({
      id: { trustDomain: TRUST_DOMAIN, path: "/workload" },
      hint: "main",
      issuedAt: claims["iat"],
      expiresAt: claims["exp"],
    });
  });

  test("all bundles that the agent knows", async () => {
    const { caCertificates } = await first(calls.x509Bundles());
    expect(Object.keys(caCertificates).sort()).toEqual([
      `spiffe://${TRUST_DOMAIN}`,
      `spiffe://${FEDERATED}`,
    ]);
    const certificate = new X509Certificate(caCertificates[`spiffe://${FEDERATED}`] ?? "");
    expect(certificate.subjectAltName).toBe(`URI:spiffe://${TRUST_DOMAIN}`);
    const { bundles } = await first(calls.jwtBundles());
    expect(Object.keys(bundles).sort()).toEqual(Object.keys(caCertificates).sort());
    const own = JSON.parse(Buffer.from(bundles[`spiffe://${TRUST_DOMAIN}`] ?? []).toString());
    expect(Object.keys(own)).toEqual(["keys"]);
    expect(Object.keys(own.keys[0]).sort()).toEqual(["crv", "kid", "kty", "x", "y"]);
  });

  test("by the pid of a process, which the agent attests; streams hear of changes", async () => {
    const workload = startWorkload();
    const request = { selectors: [], pid: workload.pid };
    const stream = calls.x509Svids(request);
    const next = async () => paths((await stream.next()).value as SubscribeToX509SVIDsResponse);
    expect(await next()).toEqual([]);
    const uid = `unix:uid:${WORKLOAD_UID}`;
    const entry = await server.entry(idOf("/by-pid"), agent.id, [uid]);
    // The reference tells of the entry before it has the SVID.
    while (!(await next()).includes("/by-pid"));
    const { svids } = await fetchJwt({ pid: workload.pid });
    expect(svids.map(({ id }) => id?.path)).toEqual(["/by-pid"]);
    await server.cli("entry", "delete", "-entryID", entry);
    while ((await next()).length > 0);
    await workload.end();
    await server.entry(idOf("/by-pid-again"), agent.id, [uid]);
    // The reference leaves it to the delegate to know that the process is gone.
    if (implementation === "ours") {
      expect(await refusal(next())).toBe("14: workload attestation failed");
    } else expect(await next()).toEqual([]);
    await stream.return(undefined);
  });

  test("a delegate that is one no more is told so", async () => {
    const svids = calls.x509Svids(bySelectors);
    const bundles = calls.x509Bundles();
    expect(paths((await svids.next()).value as SubscribeToX509SVIDsResponse)).toEqual([
      "/workload",
    ]);
    expect((await bundles.next()).done).toBe(false);
    await server.cli("entry", "delete", "-entryID", delegateEntry);
    if (implementation === "reference") {
      // It looks again when there is something to send.
      await eventually("the agent has forgotten the delegate", async () =>
        (await refusal(first(calls.x509Bundles()))) === NOT_A_DELEGATE ? true : undefined,
      );
      const other = await TestServer.start(stage, "ours");
      const bundle = await other.bundleFile();
      await server.cli("bundle", "set", "-id", `spiffe://${FEDERATED}`, "-path", bundle);
    }
    expect(await refusal(svids.next())).toBe(NOT_A_DELEGATE);
    expect(await refusal(bundles.next())).toBe(NOT_A_DELEGATE);
  });
});
